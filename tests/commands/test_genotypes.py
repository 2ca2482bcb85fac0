"""`hpcnas show` and what GENOTYPE means, over a real run of one worker in this process."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from hpcnas.cli import main
from hpcnas.commands.genotype_argument import resolve_genotype
from hpcnas.errors import UsageError
from hpcnas.population.queries import Population
from hpcnas.representation.canonical import digest
from hpcnas.representation.codec import genotype_from_json, genotype_to_json, read_genotype
from hpcnas.representation.presets import PUBLISHED
from hpcnas.run_folder import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 genotypes with synthetic fitness, 4 of them random; reading it changes nothing."""
    folder = tmp_path_factory.mktemp("show") / "run"
    command = [sys.executable, "-m", "hpcnas", "head", "--run", str(folder)]
    command += ["--fitness", "synthetic", "--steps", "16", "--population", "4", "--tournament", "0.5"]
    command += ["--workers", "1", "--cluster", "debug"]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    return folder


def shown(capsysbinary: pytest.CaptureFixture[bytes], *arguments: str | Path) -> bytes:
    assert main(["show", *map(str, arguments)]) == 0
    return capsysbinary.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line on stderr of a command that leaves with exit code 2."""
    assert main(["show", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_genotype_is_an_id_best_published_or_a_file(run, tmp_path):
    """Each with its id in the run, if it has one."""
    folder = RunFolder(run)
    with Population.open(folder) as population:
        individuals = {individual.id: individual for individual in population.individuals()}
    best = max(individuals.values(), key=lambda individual: individual.fitness or 0)
    assert resolve_genotype("best", folder) == (genotype_from_json(best.genotype), best.id)
    assert resolve_genotype("3", folder) == (genotype_from_json(individuals[3].genotype), 3)
    assert resolve_genotype("published", RunFolder(tmp_path)) == (PUBLISHED, None)
    path = tmp_path / "best"
    path.write_text(genotype_to_json(PUBLISHED))
    assert resolve_genotype(str(path), RunFolder(tmp_path)) == (PUBLISHED, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("17", "has no genotype 17"),
        ("0", "has no genotype 0"),
        ("9" * 40, "has no genotype 99999"),
        ("-1", "is no genotype"),
    ],
)
def test_what_is_not_there_is_named(run, text, expected):
    """However large the number."""
    with pytest.raises(UsageError, match=expected):
        resolve_genotype(text, RunFolder(run))


def test_every_format_is_shown(run, capsysbinary, tmp_path):
    """On the terminal or into a file whose ending says which."""
    assert shown(capsysbinary, "published").startswith(b"published, hierarchical\n\ncell\n  x1 = input\n")
    assert b"<svg" in shown(capsysbinary, "best", "--run", run, "--format", "svg")
    assert shown(capsysbinary, "best", "--run", run, "--format", "png").startswith(b"\x89PNG")
    assert shown(capsysbinary, "1", "--run", run, "--format", "dot").startswith(b"digraph")
    assert genotype_from_json(shown(capsysbinary, "published", "--format", "json").decode()) == PUBLISHED
    for ending, start in (
        ("svg", b"<?xml"),
        ("png", b"\x89PNG"),
        ("pdf", b"%PDF"),
        ("dot", b"digraph"),
        ("json", b"{"),
        ("txt", b"published"),
    ):
        path = tmp_path / f"cell.{ending}"
        assert shown(capsysbinary, "published", "--out", path) == b""
        assert path.read_bytes().startswith(start)
    assert read_genotype(tmp_path / "cell.json") == PUBLISHED


def test_motifs_that_the_cell_does_not_use_are_drawn_on_request(capsysbinary):
    """In pictures and DOT; the text on a terminal always has them."""
    assert b'label="motif2' not in shown(capsysbinary, "published", "--format", "dot")
    assert b'label="motif2 (not used)"' in shown(capsysbinary, "published", "--format", "dot", "--all-motifs")
    assert b"\nmotif2 (not used)\n" in shown(capsysbinary, "published")


def test_live_leaves_out_what_is_dead(capsysbinary):
    """In JSON a genotype of the same network."""
    assert b"motif2" not in shown(capsysbinary, "published", "--live")
    live = genotype_from_json(shown(capsysbinary, "published", "--live", "--format", "json").decode())
    assert live != PUBLISHED
    assert digest(live) == digest(PUBLISHED)


def test_a_lineage_is_shown_in_every_format(run, capsysbinary):
    """From a random genotype to the one asked for."""
    text = shown(capsysbinary, "best", "--run", run, "--lineage").decode()
    assert text.splitlines()[1].endswith("random genotype")
    chain = json.loads(shown(capsysbinary, "16", "--run", run, "--lineage", "--format", "json"))
    assert chain[-1]["id"] == 16
    assert chain[0]["id"] <= 4
    assert all(ancestor["gain"] is not None for ancestor in chain[1:])
    assert b"<svg" in shown(capsysbinary, "16", "--run", run, "--lineage", "--format", "svg")
    assert shown(capsysbinary, "16", "--run", run, "--lineage", "--format", "pdf").startswith(b"%PDF")
    assert shown(capsysbinary, "16", "--run", run, "--lineage", "--format", "dot").startswith(b"digraph lineage")


def test_nothing_is_overwritten_unasked(capsys, tmp_path):
    """The file keeps its content until --force is given."""
    path = tmp_path / "cell.svg"
    path.write_text("mine")
    assert f"{path} is there already" in refused(capsys, "published", "--out", path)
    assert path.read_text() == "mine"
    assert main(["show", "published", "--out", str(path), "--force"]) == 0
    assert "<svg" in path.read_text()


def test_bad_input_is_answered_by_one_sentence_and_leaves_nothing_behind(capsys, tmp_path, monkeypatch):
    """Exit code 2, and the folder as it was."""
    monkeypatch.chdir(tmp_path)
    huge, deep, other = Path("huge.json"), Path("deep.json"), Path("other.json")
    with huge.open("wb") as file:
        file.truncate(1 << 30)
    deep.write_text("[" * 100_000)
    other.write_text(genotype_to_json(PUBLISHED).replace('"version":1', '"version":9'))
    before = sorted(os.listdir())
    for arguments, expected in (
        (["huge.json"], "1073741824 bytes"),
        (["deep.json"], "nests brackets"),
        (["other.json"], "version 9 is unknown"),
        (["missing.json"], "missing.json is no genotype"),
        (["7", "--run", "nowhere"], "holds no run"),
        (["best", "--run", "nowhere", "--lineage"], "holds no run"),
        (["published", "--lineage"], "published has no lineage"),
        (["published", "--format", "gif"], "--format gif is unknown"),
        (["published", "--out", "no/folder.svg"], "cannot write no/folder.svg"),
        (["published", "--out", "cell.jpg"], "--out cell.jpg: .jpg is no ending of a drawing; end it in .txt, .gv, .svg, "),
    ):
        assert expected in refused(capsys, *arguments)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("form", ["png", "pdf"])
def test_bytes_are_not_thrown_at_a_terminal(form):
    """A pseudo-terminal stands for the user's."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "hpcnas", "show", "published", "--format", form]
    process = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(theirs)
    os.close(ours)
    assert process.returncode == 2
    assert f"give --out FILE.{form}" in process.stderr
