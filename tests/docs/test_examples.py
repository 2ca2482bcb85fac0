"""Each file of docs/examples does what docs/examples/README.md says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hpcnas
from hpcnas.population.queries import Population
from hpcnas.run_folder import RunFolder
from tests.processes import ENVIRONMENT, ROOT
from tests.processes import hpcnas as command

EXAMPLES = ROOT / "docs/examples"
ELSEWHERE = {"own_primitives.py", "own_dataset.py"}  # in test_own_examples.py
TESTED = {"plot_run.py", "untrained.py", "image_folder.py", "other_scheduler.sh", *ELSEWHERE}

pytestmark = pytest.mark.timeout(300)


def test_every_example_is_listed_and_tested() -> None:
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".sh"}}
    listed = set(re.findall(r"^\| \[([\w.]+)\]", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert files == listed == TESTED


def test_a_run_in_pandas_is_plotted_in_the_order_of_evaluation(run_folder: RunFolder, tmp_path: Path) -> None:
    arguments = ("--preset", "smoke", "--cluster", "local", "--fitness", "synthetic", "--run", run_folder.path)
    assert command("head", *arguments, timeout_s=200).returncode == 0
    figure = tmp_path / "best.png"
    script = [sys.executable, str(EXAMPLES / "plot_run.py"), str(run_folder.path), "--out", str(figure)]
    done = subprocess.run(script, env=ENVIRONMENT | {"MPLBACKEND": "agg"}, capture_output=True, text=True, check=True)
    assert figure.read_bytes().startswith(b"\x89PNG")
    with Population.open(run_folder.path) as population:
        best = population.best()
    assert best is not None
    first = done.stdout.splitlines()[2].split()
    assert int(first[0]) == best.id
    assert float(first[1]) == pytest.approx(best.fitness, abs=1e-4)


def test_a_fitness_of_ones_own_is_searched_by(run_folder: RunFolder) -> None:
    """By the head's own process: the same seed gives the same number, and no two genotypes need agree."""
    arguments = ("--preset", "smoke", "--cluster", "local", "--fitness", "untrained:score", "--steps", "9")
    done = command("head", *arguments, "--run", run_folder.path, cwd=EXAMPLES, timeout_s=250)
    assert done.returncode == 0, done.stderr
    with Population.open(run_folder.path) as population:
        rows = population.rows("evaluated")
    assert len(rows) == 9
    assert len({row["fitness"] for row in rows}) > 1


def test_a_fitness_without_training_follows_from_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    from untrained import score

    genotype = hpcnas.load_genotype("published")
    seen: list[float] = []
    first, again, other = (score(genotype, repeat=0, seed=seed, progress=seen.append) for seed in (1, 1, 2))
    assert first == again != other
    assert 0 <= first <= 1
    assert seen == [0.5] * 3


def test_a_folder_of_images_is_trained_on(run_folder: RunFolder, tmp_path: Path) -> None:
    """The folder that the script writes is a data set of ten classes, with images to test on."""
    images = tmp_path / "images"
    script = [sys.executable, str(EXAMPLES / "image_folder.py"), str(images)]
    done = subprocess.run(script, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    counted = {part: len(list((images / part).rglob("*.png"))) for part in ("train", "test")}
    assert done.stdout == f"train: {counted['train']} images\ntest: {counted['test']} images\n"
    assert sum(counted.values()) == 1797
    small = ("--preset", "smoke", "--steps", "1", "--population", "1", "--train-steps", "2", "--workers", "1")
    where = ("--cluster", "local", "--dataset", f"folder:{images}", "--run", run_folder.path)
    searched = command(
        "head",
        *small,
        *where,
        cwd=tmp_path,
        timeout_s=250,
        environment={"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)},
    )
    assert searched.returncode == 0, searched.stderr
    with Population.open(run_folder.path) as population:
        assert population.config.recipe.classes == 10
        assert population.counts().evaluated == 1


@pytest.mark.parametrize("start", ["", "setsid --fork"], ids=["here", "by a command that returns"])
def test_workers_of_another_scheduler_do_most_of_a_search(start: str, run_folder: RunFolder) -> None:
    """The head's own worker and two others, each of which joined the run."""
    environment = ENVIRONMENT | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HPCNAS_RUN": str(run_folder.path),
        "HPCNAS_ARGS": "--preset smoke --fitness synthetic:0.2 --steps 60",
        "WORKERS": "2",
        "START": start,
    }
    script = ["bash", str(EXAMPLES / "other_scheduler.sh")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    with Population.open(run_folder.path) as population:
        assert population.counts().evaluated == 60
        busy = {attempt.worker_id for attempt in population.attempts() if attempt.outcome == "evaluated"}
    assert len(busy) == 3


def test_a_head_that_is_refused_ends_the_script_with_its_exit_code(tmp_path: Path) -> None:
    environment = ENVIRONMENT | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HPCNAS_RUN": str(tmp_path / "run"),
        "HPCNAS_ARGS": "--steps -1",
    }
    script = ["bash", str(EXAMPLES / "other_scheduler.sh")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    assert "--steps -1" in done.stderr
