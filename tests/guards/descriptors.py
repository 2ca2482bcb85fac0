"""Tests that leave files, sockets or pipes open fail: later tests of their process need file descriptors, too.

A library that is used for the first time may keep some; so a process may keep ALLOWED, and the test fails that passes that.

The hooks are those of pytest; tests/conftest.py imports them. They take 0.1 ms a test.
"""

import gc
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import TypeAlias

import pytest

PATIENCE_S = 5.0  # a thread that was asked to end may still hold something
# What libraries open once for the process lies elsewhere: /dev/urandom, torch's /dev/shm/torch_*, fonts, epoll.
ALLOWED = 16
WATCHED = ("socket:", "pipe:", f"{tempfile.gettempdir()}/", "/dev/shm/hpcnas-")

Descriptors: TypeAlias = frozenset[tuple[int, str]]

HAS_FAILED = pytest.StashKey[bool]()
BEFORE = pytest.StashKey[Descriptors]()
_of_wider_fixtures: set[tuple[int, str]] = set()
_left_by: dict[str, list[str]] = {}  # test -> what it left


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Look before the fixtures of the test are set up."""
    item.stash[BEFORE] = open_descriptors()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
    """A fixture of many tests is set up in the first of them and keeps what it opens."""
    if fixturedef.scope == "function":
        return (yield)
    with kept():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note a failure."""
    report = yield
    item.stash[HAS_FAILED] = item.stash.get(HAS_FAILED, False) or report.failed
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Look when the fixtures of the test are gone."""
    yield
    if item.stash.get(HAS_FAILED, False):  # reported already; its traceback holds what it opened
        return
    if isinstance(item, pytest.Function):
        item.funcargs.clear()  # pytest holds what the fixtures gave a while longer
    left = left_since(item.stash[BEFORE])
    if left:
        _left_by[item.nodeid] = left
    if left and sum(map(len, _left_by.values())) > ALLOWED:
        every = "\n".join(f"{test} leaves open: {', '.join(some)}" for test, some in _left_by.items())
        pytest.fail(f"more than {ALLOWED} files, sockets and pipes are left open:\n{every}", pytrace=False)


def open_descriptors() -> Descriptors:
    """Number and target of each watched descriptor of this process, but for those of multiprocessing's two servers."""
    found = set()
    for number in map(int, os.listdir("/proc/self/fd")):
        with suppress(FileNotFoundError):  # the one that listed them
            target = os.readlink(f"/proc/self/fd/{number}")
            if target.startswith(WATCHED):
                found.add((number, target))
    servers = multiprocessing.resource_tracker._resource_tracker, multiprocessing.forkserver._forkserver
    own = {getattr(server, name, None) for server in servers for name in ("_fd", "_forkserver_alive_fd")}
    return frozenset(one for one in found if one[0] not in own)


@contextmanager
def kept() -> Iterator[None]:
    """What is opened inside may stay open."""
    before = open_descriptors()
    yield
    _of_wider_fixtures.update(open_descriptors() - before)


def left_since(before: Descriptors) -> list[str]:
    """What is open and was not open `before`, after a patient look; empty if nothing is."""
    found, end = _new(before), time.monotonic() + PATIENCE_S
    while found and time.monotonic() < end:
        gc.collect()  # takes tens of milliseconds, so only here
        found = _new(before)
        if found:
            time.sleep(0.1)
    return [f"{number} -> {target}" for number, target in sorted(found)]


def _new(before: Descriptors) -> Descriptors:
    return open_descriptors() - before - _of_wider_fixtures
