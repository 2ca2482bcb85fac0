"""`make quick` chooses something of every room, and starts no process."""

import os
import subprocess
from collections.abc import Callable

import pytest

from tests.quick import FILES, TESTS, processes_refused

WITHOUT_QUICK_TESTS = {
    "benchmarks": "they measure this machine, or train",
    "export": "what leaves a run is run as a process",
}


def test_every_file_that_is_chosen_exists() -> None:
    assert FILES
    assert [str(path) for path in FILES if not path.is_file()] == []


def test_every_room_of_the_package_has_quick_tests_or_a_reason() -> None:
    rooms = {path.parent.name for path in (TESTS.parent / "hpcnas").glob("*/__init__.py") if not path.parent.is_symlink()}
    covered = {path.relative_to(TESTS).parts[0] for path in FILES}
    assert rooms - covered == set(WITHOUT_QUICK_TESTS)


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run(["/bin/true"], check=True),
        lambda: os.system("true"),
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
    ],
    ids=["subprocess", "system", "posix_spawn"],
)
def test_a_quick_test_that_starts_a_process_fails(start: Callable[[], object]) -> None:
    with processes_refused(), pytest.raises(RuntimeError, match="mark it `slow`"):
        start()
