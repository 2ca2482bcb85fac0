"""The examples of own primitives and of an own data set, from a search by real training to the full-size model."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcnas.population.queries import Population
from hpcnas.records import Individual
from hpcnas.representation.codec import genotype_from_json
from hpcnas.representation.live import live_levels
from hpcnas.representation.primitives import PRIMITIVES
from hpcnas.run_folder import RunFolder
from tests.own_code import EXAMPLES
from tests.processes import ENVIRONMENT, end_processes
from tests.processes import hpcnas as command

SMALL = (
    "--preset",
    "smoke",
    "--cluster",
    "local",
    "--steps",
    "5",
    "--population",
    "3",
    "--repeats",
    "1",
    "--train-steps",
    "12",
    "--initial-mutations",
    "1000",  # or own operations would be rare
)
FULL = ("--model", "cifar", "--channels", "4", "--cells", "1", "--steps", "3", "--runs", "1", "--batch", "32")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with copies of the examples, where commands are typed."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("own_primitives.py", "own_dataset.py"):
        shutil.copy(EXAMPLES / name, folder)
    yield folder
    for run in ("primitives", "shapes"):
        end_processes(folder / run)


def done(place: Path, *arguments: str, code: int = 0) -> str:
    """The output of a command that is typed there."""
    found = command(*arguments, cwd=place, timeout_s=500, environment={"HPCNAS_DATA": str(place / "data")})
    assert found.returncode == code, found.stdout + found.stderr
    return found.stdout if code == 0 else found.stderr


@pytest.fixture(scope="module")
def searched(place: Path) -> RunFolder:
    """A search with own primitives by two workers."""
    done(place, "head", *SMALL, "--primitives", "own_primitives", "--run", "primitives")
    return RunFolder(place / "primitives")


@pytest.fixture(scope="module")
def own(searched: RunFolder) -> Individual:
    """The fittest genotype whose network has an own operation: which one is the best of all depends on the workers' order."""
    with Population.open(searched) as population:
        rows = population.individuals("evaluated")
    return max((one for one in rows if operations(one) & {7, 8}), key=lambda one: one.fitness or 0.0)


def operations(one: Individual) -> set[int]:
    """The operations of level 1 in its network."""
    return {k for motif in live_levels(genotype_from_json(one.genotype))[0] if motif for _, _, k in motif.edges}


def test_a_search_has_own_primitives_in_its_networks(searched: RunFolder) -> None:
    """The pool is in every genotype, and networks that were trained have some of them."""
    with Population.open(searched) as population:
        rows, space = population.individuals("evaluated"), population.config.space
    genotypes = [genotype_from_json(row.genotype) for row in rows]
    assert len(rows) == 5
    assert space.pool == (*PRIMITIVES, "5x5", "dilated3x3")
    assert {genotype.primitives for genotype in genotypes} == {space.pool}
    assert set().union(*map(operations, rows)) & {7, 8}
    told = "".join(path.read_text() for path in searched.logs.rglob("*") if path.is_file())
    assert told.count("run by torch's operators") <= 2, "once a worker at most"


def test_what_is_found_is_reported_shown_counted_and_evaluated(own: Individual, place: Path) -> None:
    run = ("--run", "primitives")
    assert "primitives (own primitives)" in done(place, "report", *run)
    for form in ("svg", "dot", "json"):
        assert any(name in done(place, "show", str(own.id), *run, "--format", form) for name in ("5x5", "dilated3x3"))
    assert "x1 (C)" in done(place, "show", str(own.id), *run, "--live")
    counted = json.loads(done(place, "count", str(own.id), *run, "--json"))
    assert counted["trainable"] == own.parameters
    evaluated = json.loads(done(place, "evaluate", str(own.id), *run, "--json"))
    assert evaluated["dataset"] == "digits"


def test_the_best_is_trained_at_full_size_and_leaves(own: Individual, place: Path) -> None:
    """Its model file runs where hpcnas cannot be imported, with the weights of the training."""
    assert "recorded in the population" in done(place, "final", str(own.id), *FULL, "--run", "primitives")
    done(place, "export", str(own.id), "--run", "primitives", "--out", "out")
    bundle = place / "out"
    alone = bundle / "alone"
    alone.mkdir()
    (alone / "hpcnas.py").write_text("raise ImportError('not installed here')\n")
    script = [sys.executable, str(bundle / "model.py"), str(bundle / "weights.safetensors")]
    environment = ENVIRONMENT | {"PYTHONPATH": str(alone)}
    shown = subprocess.run(script, env=environment, capture_output=True, text=True, check=True, cwd=alone).stdout
    assert shown.endswith("one image of (1, 32, 32) gives (1, 10)\n")
    elsewhere = ("count", str(bundle / "genotype.json"), "--run", str(place / "none"))
    assert "name the module that has it with --primitives" in done(place, *elsewhere, code=2)
    assert "trainable parameters" in done(place, *elsewhere, "--primitives", "own_primitives")


def test_a_run_is_not_resumed_with_other_primitives(searched: RunFolder, place: Path) -> None:
    """Another module, none, or the same one with another number; a comment is no change."""
    resume = ("head", "--run", "primitives")
    assert "space.primitives is own_primitives, not other" in done(place, *resume, "--primitives", "other", code=2)
    module = place / "own_primitives.py"
    text = module.read_text(encoding="utf-8")
    try:
        module.write_text(text.replace("dilation=2", "dilation=3"), encoding="utf-8")
        assert "is not what it was when the run began" in done(place, *resume, code=2)
        module.write_text(text + "# a comment\n", encoding="utf-8")
        assert "nothing to do" in done(place, *resume)
    finally:
        module.write_text(text, encoding="utf-8")


def test_a_search_on_an_own_data_set_of_larger_images(place: Path) -> None:
    """The head calls the function, the workers do not; the winner is trained at full size and tested."""
    size = ("--image-px", "48", "--crop", "40")
    done(place, "head", *SMALL, "--dataset", "own_dataset:shapes", *size, "--run", "shapes")
    with Population.open(place / "shapes") as population:
        recipe, found = population.config.recipe, population.counts().evaluated
    assert (recipe.classes, recipe.in_channels, recipe.side_px, found) == (3, 3, 48, 5)
    full = done(place, "final", "best", *FULL, "--crop", "40", "--run", "shapes")
    assert "on 300 images" in full
    for_48 = json.loads(done(place, "count", "best", "--json", "--run", "shapes"))
    done(place, "show", "best", "--format", "json", "--out", "best.json", "--run", "shapes")
    for_32 = json.loads(done(place, "count", "best.json", "--channels", str(recipe.channels), "--json", "--run", "none"))
    assert for_48["macs"] == pytest.approx(for_32["macs"] * 48**2 / 32**2, rel=0.01)  # but for the classifier's
    module = place / "own_dataset.py"
    module.write_text(module.read_text(encoding="utf-8").replace("180, 256", "170, 256"), encoding="utf-8")
    assert "has other images, labels or classes than when the run began" in done(place, "head", "--run", "shapes", code=2)


def test_a_crop_that_does_not_fit_is_refused_before_anything_is_made(place: Path) -> None:
    told = done(place, "head", *SMALL, "--dataset", "own_dataset:shapes", "--crop", "49", "--run", "refused", code=2)
    assert "--crop 49 is larger than the 48 px of own_dataset:shapes's images" in told
    assert not (place / "refused").exists()


def test_a_report_is_written_where_the_module_is_not(searched: RunFolder, tmp_path: Path) -> None:
    """Without multiply-adds, which only the module can give; one line says so."""
    found = command("report", "--run", searched.path, "--figures", tmp_path / "figures", cwd=tmp_path, timeout_s=200)
    assert found.returncode == 0, found.stderr
    assert "the multiply-adds of primitives (own primitives) are left out: --primitives own_primitives" in found.stderr
    assert (tmp_path / "figures/front.svg").exists()
