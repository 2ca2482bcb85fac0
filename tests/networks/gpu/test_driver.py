"""What keeps Triton from the card is a reason, not the end of a worker."""

import functools
from pathlib import Path

import pytest

pytest.importorskip("triton")
from triton.backends.nvidia import driver as nvidia
from triton.runtime.driver import driver

from hpcnas.networks.gpu.driver import reason_against_driver

SAID = "Triton cannot reach the GPU's driver: "


@pytest.fixture(autouse=True)
def not_yet_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a new process, with an empty cache."""
    monkeypatch.setattr(driver, "_active", None)
    monkeypatch.setattr(driver, "_default", None)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for name in ("libcuda_dirs", "library_dirs"):
        monkeypatch.setattr(nvidia, name, functools.lru_cache(getattr(nvidia, name).__wrapped__))
    monkeypatch.setattr(nvidia.CudaDriver, "is_active", staticmethod(lambda: True))


def test_a_card_that_triton_does_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia.CudaDriver, "is_active", staticmethod(lambda: False))
    assert reason_against_driver().startswith(f"{SAID}0 active drivers")


def test_a_libcuda_that_the_linker_does_not_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in containers, where torch finds it by its own way."""
    monkeypatch.setattr(nvidia.subprocess, "check_output", lambda command: b"")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    monkeypatch.delenv("TRITON_LIBCUDA_PATH", raising=False)
    assert reason_against_driver() == f"{SAID}libcuda.so cannot found!"


def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITON_LIBCUDA_PATH", str(tmp_path))
    monkeypatch.setenv("CC", "false")
    reason = reason_against_driver()
    assert reason.startswith(f"{SAID}Command '['false', ")
    assert reason.endswith("returned non-zero exit status 1.")
