"""A run folder with full-size trainings to export."""

import pytest

from tests.export.material import leave_training


@pytest.fixture
def trained(tmp_path):
    """A run folder with two full-size trainings of the published cell, the second one better."""
    return tmp_path / "run", [leave_training(tmp_path / "run", run, error) for run, error in enumerate((6.0, 5.0))][1]
