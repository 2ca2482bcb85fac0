"""One word and one unit in what people read: a row of the population is a genotype, its fitness a percentage as 50.67 %."""

import ast
import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from hpcnas.cli import build_app, main
from hpcnas.population.queries import Population
from tests.processes import ROOT

SEARCH = "head --preset smoke --cluster debug --workers 1 --fitness synthetic"
COMMANDS = [
    "status",
    "report",
    "report --format markdown",
    "report --format latex",
    "report --format html --force --out page.html",
    "population",
    "failures",
    "show best",
    "show best --lineage",
    "show best --lineage --format dot",
    "evaluate best",
    f"{SEARCH} --steps 26",
    "final best --dataset digits --channels 2 --cells 1 --steps 1 --batch 16 --runs 2 --device cpu",
    "simulate --steps 30 --population 10 --workers 3",
]
OTHER_WORD = re.compile(r"\bindividuals?\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words") / "run"
    assert main([*SEARCH.split(), "--run", str(folder)]) == 0
    return folder


@contextlib.contextmanager
def said() -> Iterator[io.TextIOWrapper]:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        yield stream


def helps() -> dict[str, str]:
    """The help of every command, as typer writes it."""
    found = {}
    app = typer.main.get_command(build_app())
    for name, command in app.commands.items():
        for inner, one in getattr(command, "commands", {"": command}).items():
            options = [getattr(option, "help", None) or "" for option in one.params]
            found[f"{name} {inner}".strip()] = "\n".join([one.help or "", *options])
    return found


def test_no_help_has_another_word() -> None:
    assert len(helps()) > 15
    assert {name: text for name, text in helps().items() if OTHER_WORD.search(text)} == {}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_says_has_one_word_and_one_unit(command: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    with said() as stream:
        code = main([*command.split(), *([] if command.startswith("simulate") else ["--run", str(run)])])
        text = stream.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert code == 0, text
    if "html" in command:  # without the data that its own program reads
        text = re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]*>", " ", (run / "page.html").read_text(), flags=re.DOTALL)
    assert not OTHER_WORD.search(text), text
    assert not re.search(r"(?i)(?:fitness|best|accuracy|error)[^\n]*\d%", text), "a percentage without its space"
    assert "+-" not in text
    shares = {f"{value:.{digits}f}" for value in fitness_of(run) for digits in (3, 4)}
    assert shares.isdisjoint(re.findall(r"(?<![\d.])0\.\d+", text)), "a fitness as a share of one"


def fitness_of(run: Path) -> list[float]:
    with Population.open(run) as population:
        return [one.fitness for one in population.individuals() if one.fitness is not None]


def test_a_share_of_one_would_be_found(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the format for programs, whose numbers stay as they are."""
    assert main(["population", "--format", "json", "--run", str(run)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sorted(row["fitness"] for row in rows if row["fitness"]) == pytest.approx(sorted(fitness_of(run)))
    assert all(0 < value < 1 for value in fitness_of(run))


def test_no_sentence_in_the_code_has_another_word() -> None:
    """Messages, logs and labels; the table of the database is called individual."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for path in sorted((ROOT / "hpcnas").rglob("*.py"))
        for node in sentences(ast.parse(path.read_text(encoding="utf-8")))
        if OTHER_WORD.search(re.sub(r"\b(UPDATE|FROM|INTO|TABLE|JOIN) individual", "", str(node.value)))
    ]
    assert found == []


def sentences(tree: ast.AST) -> Iterator[ast.Constant]:
    """The texts with a space in them that are no docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value and id(node) not in docstrings:
            yield node
