"""What a test draws does not depend on the tests that ran before it in its process."""

import random
import sys

import pytest


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Python's, NumPy's and PyTorch's global generators start alike in each test."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
