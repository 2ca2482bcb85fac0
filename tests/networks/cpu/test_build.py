"""The compiled kernels are a help, never a need: without them one log line says so and training goes on."""

import errno
import fcntl
import logging
import os
import shutil
import stat
import subprocess
import sys

import pytest
import torch

from hpcnas.networks.cpu import build as native_build
from hpcnas.networks.plan import build_planned_network
from hpcnas.representation.presets import PUBLISHED
from tests.compiler import need_kernels

load = native_build.load_library.__wrapped__  # without its memory


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HPCNAS_KERNELS", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def test_without_a_compiler_one_line_says_so(cache, monkeypatch, caplog):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with caplog.at_level(logging.WARNING):
        assert load() is None
    assert [record.message for record in caplog.records] == [
        "no C++ compiler found: networks train without the compiled kernels, several times slower on a CPU"
    ]


def test_a_compiler_that_fails_leaves_nothing(cache, tmp_path, monkeypatch, caplog):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'engine.cpp:1: error: no such thing' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    with caplog.at_level(logging.WARNING):
        assert load() is None
    assert "no such thing" in caplog.text
    assert not list(cache.glob("*.so"))


def test_kernels_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("HPCNAS_NATIVE", "0")
    assert load() is None


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch, caplog):
    need_kernels()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HPCNAS_KERNELS", str(tmp_path / "file" / "kernels"))
    with caplog.at_level(logging.WARNING):
        assert load() is None
    assert len(caplog.records) == 1


def test_a_cache_that_cannot_be_locked_is_used_all_the_same(cache, monkeypatch, caplog):
    """Two who compile at once do no harm; one line says why they do."""

    def no_flock(descriptor, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    def compile_nothing(compiler, path):
        path.write_bytes(b"")

    monkeypatch.setattr(fcntl, "flock", no_flock)
    monkeypatch.setattr(native_build, "_compile", compile_nothing)
    with caplog.at_level(logging.WARNING):
        assert native_build._compiled("c++").exists()
    assert [record.message for record in caplog.records] == [
        f"{cache} cannot lock files (Function not implemented): every process compiles the kernels for itself"
    ]


def test_a_lab_may_share_the_kernels_that_one_of_it_compiled(cache):
    need_kernels()
    before = os.umask(0o022)
    try:
        assert load() is not None
    finally:
        os.umask(before)
    (kernels,) = cache.glob("*.so")
    assert stat.S_IMODE(kernels.stat().st_mode) == 0o755


def test_networks_run_without_kernels(monkeypatch):
    monkeypatch.setattr("hpcnas.networks.cpu.body.load_library", lambda: None)
    network = build_planned_network(PUBLISHED, channels=2)
    network(torch.randn(2, 3, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_threads_that_the_system_refuses_are_a_lack_of_memory():
    """Those that did start are ended: the process goes on."""
    need_kernels()
    code = (
        "import resource, torch\n"
        "from hpcnas.networks.cpu.build import load_library\n"
        "library = load_library()\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))\n"
        "print(library.hpcnas_start_threads(2000))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
