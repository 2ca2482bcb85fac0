"""A whole search, and its report, by a user without a home and without an entry in passwd, who owns one folder only."""

import os
from collections.abc import Iterator

import pytest

from tests.strangers import UID, Stranger, stranger

SEARCH = "head --preset smoke --cluster local --fitness synthetic --steps 12 --run run"


@pytest.fixture(scope="module")
def user() -> Iterator[Stranger]:
    """The stranger, whose search has ended."""
    with stranger() as one:
        searched = one.run(*SEARCH.split())
        assert searched.returncode == 0, searched.stderr
        assert "12 genotypes evaluated" in searched.stdout + searched.stderr
        yield one


def test_the_search_is_the_users_own(user: Stranger) -> None:
    owner = UID if os.geteuid() == 0 else os.geteuid()
    assert {path.stat().st_uid for path in user.folder.glob("run/**/*")} == {owner}
    assert not (user.folder / "run/head.lock").exists()


@pytest.mark.parametrize(
    "command",
    ["report --run run", "report --run run --format html --figures figures", "status --run run", "show best --run run"],
)
def test_what_looks_at_a_run_works_and_complains_of_nothing(user: Stranger, command: str) -> None:
    looked = user.run(*command.split())
    assert looked.returncode == 0, looked.stderr
    assert "home" not in looked.stderr.lower()


def test_a_full_size_training_ends_well(user: Stranger) -> None:
    short = "--dataset digits --channels 2 --cells 1 --steps 2 --batch 16 --runs 1 --device cpu"
    trained = user.run("final", "best", "--run", "run", *short.split())
    assert trained.returncode == 0, trained.stderr
    assert "recorded in the population" in trained.stdout


@pytest.mark.parametrize(
    "command", [SEARCH.replace("12", "14"), "restore --run run", "final best --run run --dataset digits --channels 2 --runs 1"]
)
@pytest.mark.skipif(os.geteuid() != 0, reason="a folder of another user is given away by root only")
def test_a_run_of_another_user_is_one_sentence(user: Stranger, command: str) -> None:
    places = [user.folder / "run", *(path for path in user.folder.glob("run/**/*"))]
    try:
        for place in places:
            os.chown(place, 0, 0)
        refused = user.run(*command.split())
    finally:
        for place in places:
            os.chown(place, UID, UID)
    said = refused.stderr.strip().splitlines()
    assert refused.returncode == 2, refused.stderr
    assert said[-1].startswith("hpcnas: cannot write into ")
    assert "Permission denied; " in said[-1]
