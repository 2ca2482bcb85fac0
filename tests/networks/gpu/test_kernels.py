"""The kernels and their engine in Triton's interpreter, in processes of their own: Triton decides that at its import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
HERE = Path(__file__).parent / "interpreted"
ROOT = Path(__file__).parents[3]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("checks", ["check_kernels.py", "check_addresses.py", "check_engine.py", "check_full_size.py"])
def test_the_interpreter_agrees_with_the_reference(checks):
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    # numpy warns of inf and NaN where a test means them, and of a loop's bounds, which Triton 3.6 holds as arrays of one.
    ignored = ["-W", "ignore::RuntimeWarning", "-W", "ignore:Conversion of an array with ndim > 0:DeprecationWarning"]
    options = ["-q", *ignored, "-p", "no:cacheprovider", "--durations=0"]
    command = [sys.executable, "-m", "pytest", str(HERE / checks), "-o", "python_files=check_*.py", *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
