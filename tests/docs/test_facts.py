"""What the documentation says of the code: options, variables, defaults, times, exit codes, files and JSON keys."""

import json
import re
from pathlib import Path

import pytest
import typer

from hpcnas import errors
from hpcnas.cli import build_app, main
from hpcnas.cluster import signals
from hpcnas.cluster.slurm import arrays, batch, full_jobs, submission, view
from hpcnas.cluster.slurm.command import ASK_TIMEOUT_S
from hpcnas.commands import final_record
from hpcnas.commands.head_options import PLACES
from hpcnas.config import RunConfig
from hpcnas.head import lease_monitor, maintenance, scaling
from hpcnas.option import shown_default
from hpcnas.population import backup, quarantine, rules
from hpcnas.training.fitness import loop as fitness_loop
from hpcnas.training.full_size import checkpoint, step
from hpcnas.worker import delivery, loop
from tests.docs.commands import DOCUMENTS, ROOT, commands, fences

SMOKE = "--preset smoke --cluster debug --workers 1 --fitness synthetic --steps 12"
CLUSTER, SEARCH = RunConfig().cluster, RunConfig().search
# Options of other programs: Slurm's, pip's, torchrun's, a browser's, and those of scripts and tools of this repository.
OTHERS = {
    *("--array", "--dependency", "--export", "--exclude", "--nodes", "--nproc-per-node"),
    *("--headless", "--hide-scrollbars", "--window-size", "--screenshot"),
    *("--scale", "--no-imagenet", "--minutes", "--gpus", "--faults", "--seconds", "--picture"),
    *("--genotypes", "--searches", "--full-steps"),
}


def words(number: float) -> str:
    names = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    return names[int(number)]


def text(name: str) -> str:
    """A page with every run of white space as one space, as a reader sees it."""
    path = ROOT / name if name == "README.md" else ROOT / "docs" / name
    return " ".join(path.read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def app() -> typer.main.TyperGroup:
    return typer.main.get_command(build_app())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search."""
    folder = tmp_path_factory.mktemp("facts") / "run"
    assert main(["head", *SMOKE.split(), "--run", str(folder)]) == 0
    return folder


def options(app: typer.main.TyperGroup) -> set[str]:
    commands = [command for one in app.commands.values() for command in getattr(one, "commands", {"": one}).values()]
    given = [option for command in [app, *commands] for option in command.params]
    return {name for option in given for name in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_option_that_a_page_names_is_one(document: Path, app: typer.main.TyperGroup) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", document.read_text(encoding="utf-8")))
    assert named <= options(app) | OTHERS | {"--debug", "--help"}


def test_every_variable_that_a_page_names_is_read_somewhere() -> None:
    source = [*(ROOT / "hpcnas").rglob("*.py"), *(ROOT / "jobs").glob("*.sh")]
    read = {name for path in source for name in re.findall(r"HPCNAS_\w+", path.read_text(encoding="utf-8"))}
    for document in DOCUMENTS:
        assert set(re.findall(r"HPCNAS_[A-Z_]*[A-Z]", document.read_text(encoding="utf-8"))) <= read, document.name


@pytest.mark.parametrize("command", ["head", "doctor"])
def test_the_defaults_in_a_commands_help_are_the_configurations(command: str, app: typer.main.TyperGroup) -> None:
    config = RunConfig().to_dict()
    values = {name: (config[section] if section else config)[one.field] for name, (section, one) in PLACES.items()}
    values["preset"] = "paper"
    helps = {option.name: getattr(option, "help", None) or "" for option in app.commands[command].params}
    told = {name: found[1] for name, line in helps.items() if (found := re.search(r"\[([\w.,]+)\]$", line))}
    assert len(told) > 2
    assert told == {name: shown_default(values[name]) for name in told}


# page, and a sentence of it in which the code's own numbers stand
FIGURES = [
    ("reliability.md", f"for `--lease-seconds` ({CLUSTER.lease_s:.0f} s; heartbeats come every {CLUSTER.heartbeat_s:.0f} s)"),
    ("reliability.md", f"errors + 1, failed at {rules.MAX_ERRORS}, at once"),
    ("reliability.md", f"losses + 1, failed at {rules.MAX_LOSSES} |"),
    ("reliability.md", f"front of the queue, failed at {rules.MAX_PREEMPTIONS} |"),
    ("reliability.md", f"the first {words(maintenance.FEW)} attempts fail"),
    ("reliability.md", f"more than {100 * maintenance.LARGEST_FAILED_SHARE:.0f} % of the last 50 genotypes"),
    ("reliability.md", f"{words(quarantine.FAILURES_IN_A_ROW)} different genotypes failed in a row"),
    ("reliability.md", f"A worker ends itself after {words(loop.FAILURES_IN_A_ROW)} failures in a row"),
    (
        "reliability.md",
        f"after {words(scaling.QUICK_EXITS_BEFORE_WAIT)} submissions that died within {words(scaling.QUICK_S / 60)} minutes",
    ),
    ("reliability.md", f"it waits {scaling.FIRST_WAIT_S:.0f} s, then twice"),
    ("reliability.md", f"and gives up after {words(scaling.MAX_QUICK_EXITS)}"),
    ("reliability.md", "shortens a lease to two and a half missed heartbeats" if lease_monitor.MISSED_BEATS == 2.5 else "?"),
    ("reliability.md", f"results held in memory for {'an hour' if delivery.HOLD_S == 3600 else '?'}"),
    ("operating.md", f"(checked, the newest {words(backup.KEPT)})"),
    ("operating.md", f"the head backs off after {words(scaling.QUICK_EXITS_BEFORE_WAIT)} of them"),
    ("operating.md", f"the first {words(maintenance.FEW)} attempts fail"),
    ("scale.md", f"at most {'once a minute' if arrays.POLL_S == 60 else '?'} (`HPCNAS_SQUEUE_S`"),
    ("scale.md", f"({submission.SBATCH_TIMEOUT_S:.0f} s, and {ASK_TIMEOUT_S:.0f} s for the `squeue`"),
    ("scale.md", f"`hpcnas status` waits {view.LOOK_S:.0f} s for each command"),
    ("scale.md", f"after a refusal {scaling.REFUSED_WAIT_S:.0f} s, {2 * scaling.REFUSED_WAIT_S:.0f} s"),
    ("scale.md", f"asks for SIGUSR2 {batch.SIGNAL_S} s before the time limit"),
    ("scale.md", f"limit (a {'twelfth' if batch.signal_delay_s(120) == 10 else '?'} of shorter limits"),
    ("scale.md", f"SIGTERM again within {words(signals.SAME_EVENT_S)} seconds"),
    ("final.md", f"SIGUSR2 {words(full_jobs.SIGNAL_S / 60)} minutes before"),
    ("final.md", f"The newest {words(checkpoint.KEPT)} are kept"),
    ("final.md", f"at least {words(step.LEAST_MICRO_BATCH)} images at a time"),
    ("final.md", f"a training waits {'a minute' if final_record.PATIENCE_S == 60 else '?'}"),
    ("performance.md", f"are read every {fitness_loop.STEPS_BETWEEN_CHECKS} steps"),
    ("cluster.md", f"{words(quarantine.FAILURES_IN_A_ROW)} genotypes in a row failed"),
]


@pytest.mark.parametrize(("page", "sentence"), FIGURES)
def test_a_figure_in_a_page_is_the_codes(page: str, sentence: str) -> None:
    assert sentence in text(page)


def test_the_exit_codes_of_all_errors_are_told() -> None:
    named = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in named if issubclass(kind, errors.HpcnasError)}
    for page in ("operating.md", "design.md"):
        told = re.search(r"0 done; .*? the run folder is damaged", text(page))
        assert told is not None
        assert set(map(int, re.findall(r"(?:^|; )(?:- )?(\d)", told[0]))) == codes | {0}


def test_every_file_of_a_run_folder_is_in_the_pages_about_it(run: Path) -> None:
    for page in ("operating.md", "design.md"):
        said = text(page)
        assert [path.name for path in run.iterdir() if f"`{path.name}" not in said] == [], page


@pytest.mark.parametrize(
    ("label", "arguments"),
    [
        ("population --format json` is a list of ", "population --format json"),
        ("status --json` is ", "status --json"),
        ("(a list of these for several models): ", "count best --json"),
        ("report --format json`: ", "report --format json"),
    ],
)
def test_the_keys_of_a_json_shape_are_those_that_the_design_names(
    label: str, arguments: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = text("design.md").partition(label)[2].partition("`")[2].partition("`")[0]
    assert main([*arguments.split(), "--run", str(run)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found[0] if isinstance(found, list) else found) == top_level_keys(told)


def top_level_keys(shape: str) -> set[str]:
    """The keys of {"a", "b": {"c"}}: here a and b."""
    shape = re.sub(r"(?<=: )(\{[^{}]*\}|\[[^\[\]]*\])", "0", shape[1:-1])
    return set(re.findall(r'"(\w+)"', shape))


def test_every_module_that_a_page_names_by_its_room_exists() -> None:
    rooms = "|".join(path.name for path in (ROOT / "hpcnas").iterdir() if (path / "__init__.py").is_file())
    for document in DOCUMENTS:
        for name in re.findall(rf"`((?:{rooms})/[\w/.]*)`", document.read_text(encoding="utf-8")):
            assert (ROOT / "hpcnas" / name).exists() or (ROOT / name).exists(), f"{document.name}: {name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_page_that_asks_for_nodes_of_eight_gpus_says_what_to_do_on_others(document: Path) -> None:
    """sbatch reads the number in the script before anything of ours runs."""
    shown = [words for fence in fences(document) if fence.mark == "check" for words in commands(fence)]
    if any(words[0] == "sbatch" and words[-1].endswith("final_imagenet.sh") for words in shown):
        assert re.search(r"HPCNAS_GPUS_PER_NODE=4\b.*\bbash jobs/final_imagenet\.sh", text(document.name))


def test_versions_in_readme_are_those_that_the_package_asks_for() -> None:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    (torch,) = re.findall(r"\"torch>=([\d.]+)", setup)
    (vision,) = re.findall(r"torchvision>=([\d.]+)", setup)
    (python,) = re.findall(r"python_requires=\">=([\d.]+)", setup)
    assert f"torch {torch} and torchvision {vision} or newer" in text("README.md")
    assert f"Python {python} or newer" in text("README.md")


def test_every_library_that_the_package_asks_for_is_in_the_design() -> None:
    asked = set(re.findall(r"\"([\w-]+)(?:\[\w+\])?>=\d", (ROOT / "setup.py").read_text(encoding="utf-8"))) - {"setuptools"}
    said = text("design.md").partition("## 6. Libraries")[2]
    assert len(asked) > 10
    assert [name for name in sorted(asked) if name not in said] == []
