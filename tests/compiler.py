"""Tests of the compiled kernels need a C++ compiler."""

import os

import pytest

from hpcnas.networks.cpu.build import load_library


def need_kernels() -> None:
    """Skip where the kernels cannot be compiled; fail there when HPCNAS_REQUIRE_COMPILER=1, as in continuous integration."""
    if load_library() is not None:
        return
    if os.environ.get("HPCNAS_REQUIRE_COMPILER") == "1":
        pytest.fail("HPCNAS_REQUIRE_COMPILER=1, but the kernels cannot be compiled here")
    pytest.skip("there is no C++ compiler here, so that the compiled kernels cannot be tested")
