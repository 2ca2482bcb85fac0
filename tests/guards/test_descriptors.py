"""The guard of open files finds what is left, in the test that left it, and nothing else."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.guards import descriptors
from tests.guards.descriptors import left_since, open_descriptors
from tests.processes import ROOT

TESTS = """
import os
import pytest

@pytest.fixture(scope="module")
def pipe():
    pair = os.pipe()
    yield pair
    for one in pair:
        os.close(one)

def test_uses_what_stays(pipe):
    pass

def test_leaves_as_many_as_a_process_may_keep(tmp_path):
    for number in range(16):
        os.open(tmp_path / f"kept-{number}", os.O_CREAT)

def test_leaves_a_file(tmp_path, pipe):
    os.open(tmp_path / "left", os.O_CREAT)

def test_closes_all(tmp_path, pipe):
    (tmp_path / "closed").write_text("")

def test_fails_with_an_open_file(tmp_path):
    os.open(tmp_path / "open", os.O_CREAT)
    assert not "reported once"
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look is enough."""
    monkeypatch.setattr(descriptors, "PATIENCE_S", 0.1)


@pytest.mark.usefixtures("impatient")
def test_files_sockets_and_pipes_that_are_open_are_named(tmp_path: Path) -> None:
    before = open_descriptors()
    with (tmp_path / "mine").open("w"), socket.socket(), open("/dev/urandom", "rb"):
        pipe = os.pipe()
        named = [line.partition(" -> ")[2] for line in left_since(before)]
    for one in pipe:
        os.close(one)
    kinds = sorted(name.partition(":")[0] for name in named)
    assert kinds == [str(tmp_path / "mine"), "pipe", "pipe", "socket"]
    assert left_since(before) == []


class Circle:
    """Holds a descriptor, and itself."""

    def __init__(self, number: int) -> None:
        self.number, self.itself = number, self

    def __del__(self) -> None:
        os.close(self.number)


def test_what_the_collector_or_a_thread_closes_is_not_left(tmp_path: Path) -> None:
    before = open_descriptors()
    Circle(os.open(tmp_path / "held", os.O_CREAT))
    assert left_since(before) == []
    threading.Timer(0.3, os.close, [os.open(tmp_path / "late", os.O_CREAT)]).start()
    assert left_since(before) == []


def test_a_look_takes_less_than_a_millisecond() -> None:
    """0.1 ms with the 20 of a session; the fastest of some, as others use the machine."""
    took_s = []
    for _ in range(50):
        began_s = time.perf_counter()
        left_since(open_descriptors())
        took_s.append(time.perf_counter() - began_s)
    assert min(took_s) < 0.001


def test_the_test_that_leaves_one_too_many_fails_and_no_other(tmp_path: Path) -> None:
    """A module's fixture keeps its pipe; a test that fails by itself is reported once."""
    (tmp_path / "test_some.py").write_text(TESTS)
    words = ["-q", "-p", "tests.guards.descriptors", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    answer = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert re.search(r"^ERROR .*test_some\.py::test_leaves_a_file( - .*)?$", answer.stdout, re.MULTILINE)
    assert re.search(r"^\S*::test_leaves_as_many_as_a_process_may_keep leaves open: .*/kept-15$", answer.stdout, re.MULTILINE)
    assert re.search(r"^\S*::test_leaves_a_file leaves open: \d+ -> .*/left$", answer.stdout, re.MULTILINE)
    assert "1 failed, 4 passed, 1 error" in answer.stdout
