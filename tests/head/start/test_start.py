"""From a command to a run that is open: with everything, or with nothing left behind."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hpcnas.config import RunConfig
from hpcnas.errors import HpcnasError, RunHeldError, UsageError
from hpcnas.head.requests import DRAIN, Requests
from hpcnas.head.start import open_run, show_plan
from hpcnas.population.protocol.address import read_address
from hpcnas.population.protocol.messages import ReleaseMessage
from hpcnas.population.protocol.outbox import write_outbox
from hpcnas.population.queries import Population
from hpcnas.records import State
from hpcnas.representation.space import FLAT
from hpcnas.run_folder import RunFolder
from tests.head.fakes import Hand


@pytest.fixture
def new(tmp_path: Path) -> RunFolder:
    """Where a run is to be made."""
    return RunFolder(tmp_path / "new")


def test_a_run_is_made_locked_and_listening_and_let_go_of(new: RunFolder, config: RunConfig) -> None:
    with open_run(new, config) as run:
        assert run.lock.is_held()
        assert new.head_address.exists()
        assert not run.is_done
    assert not new.lock.exists()
    assert not new.head_address.exists()
    assert new.config.exists()


@pytest.mark.parametrize(
    "refused",
    [
        {"recipe": {"fitness": "no_such_module:f"}},
        {"recipe": {"fitness": "synthetic:nan"}},
        {"space": {"kind": "flat-constrained", "max_parameters": 10}},
    ],
    ids=["module", "seconds", "limit"],
)
def test_a_refused_start_leaves_nothing_behind(
    new: RunFolder, config: RunConfig, refused: dict[str, dict[str, object]]
) -> None:
    values = config.to_dict()
    for section, changes in refused.items():
        values[section].update(changes)
    if "space" in refused:
        values["space"].update(motifs=[1], nodes=[11])
    with pytest.raises(UsageError), open_run(new, RunConfig.from_dict(values)):
        pass
    assert not new.path.exists()


def test_a_plan_is_refused_for_what_a_start_is_refused_for(new: RunFolder, config: RunConfig) -> None:
    tight = replace(config, space=replace(FLAT, kind="flat-constrained", max_parameters=10))
    with pytest.raises(UsageError, match="--max-parameters 10"):
        show_plan(new, tight)
    assert "would start" in show_plan(new, config)


def test_a_second_head_is_refused_and_disturbs_nothing(new: RunFolder, config: RunConfig) -> None:
    with open_run(new, config) as run:
        address = new.head_address.read_bytes()
        with pytest.raises(RunHeldError), open_run(new, config):
            pass
        assert run.lock.is_held()
        assert new.head_address.read_bytes() == address
        run.store.set_draining(False)  # it is still the head: no later epoch has begun


def test_a_second_head_is_refused_before_its_data_are_loaded(
    new: RunFolder, config: RunConfig, write_module: Callable[[str], str]
) -> None:
    """A user's function may load for minutes; the refusal is known before."""
    module = write_module(
        "import pathlib\nimport numpy as np\n"
        "def load(train):\n"
        "    with pathlib.Path(__file__).with_suffix('.loaded').open('a') as calls:\n"
        "        calls.write('x')\n"
        "    return np.zeros((40, 8, 8, 1), np.uint8), np.arange(40) % 2\n"
    )
    recipe = {"fitness": "train", "dataset": f"{module}:load", "data": str(new.path.parent / "data"), "crop": 8, "batch": 8}
    own = replace(config, recipe=replace(config.recipe, **recipe))  # type: ignore[arg-type]
    with open_run(new, own) as run:
        loaded = next(new.path.parent.rglob(f"{module}.loaded"))
        before = loaded.read_text()
        with pytest.raises(RunHeldError), open_run(new, own):
            pass
        assert loaded.read_text() == before
        assert "would resume" in show_plan(new, own), "a plan is no second head"
        assert run.lock.is_held()


def test_a_new_head_merges_the_outbox_and_ends_draining(new: RunFolder, config: RunConfig) -> None:
    with open_run(new, config) as run:
        hand = Hand(run.store)
        run.breeder.breed()
        hand.claim()
        run.store.set_draining(True)
    assert hand.held is not None
    write_outbox(new, ReleaseMessage(hand.held.individual_id, hand.held.token, "time limit"))
    with open_run(new, replace(config, search=replace(config.search, steps=20))), Population.open(new) as population:
        assert population.individual(1).state is State.QUEUED
        assert not population.run().draining
        assert population.config.search.steps == 20
    assert "steps = 20" in new.config.read_text()


def test_a_new_head_forgets_the_stops_of_the_one_before(new: RunFolder, config: RunConfig) -> None:
    with open_run(new, config):
        pass
    new.requests.mkdir()
    (new.requests / DRAIN).touch()
    os.utime(new.requests / DRAIN, (1, 1))
    with open_run(new, config):
        assert Requests(new).open() == []


def test_another_recipe_is_refused_before_the_run_is_touched(new: RunFolder, config: RunConfig) -> None:
    with open_run(new, config):
        pass
    before = {path: path.stat().st_mtime_ns for path in new.path.rglob("*")}
    changed = replace(config, recipe=replace(config.recipe, repeats=3))
    with pytest.raises(HpcnasError, match=r"recipe\.repeats is 2, not 3"), open_run(new, changed):
        pass
    assert {path: path.stat().st_mtime_ns for path in new.path.rglob("*")} == before


def test_a_named_address_is_the_first_that_workers_try(folder: RunFolder, config: RunConfig) -> None:
    with open_run(folder, config, address="127.0.0.1"):
        assert read_address(folder).hosts_elsewhere()[0] == "127.0.0.1"


def test_an_address_of_another_machine_is_refused_before_anything_is_made(
    tmp_path_factory: pytest.TempPathFactory, config: RunConfig
) -> None:
    folder = RunFolder(tmp_path_factory.mktemp("place") / "run")
    with (
        pytest.raises(UsageError, match=r"--address 203\.0\.113\.9 is no address of this machine"),
        open_run(folder, config, address="203.0.113.9"),
    ):
        raise AssertionError
    assert not folder.path.exists()
