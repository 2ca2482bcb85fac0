"""What evaluate prints."""

import pytest

from hpcnas.cli import main


def test_evaluate_counts_repeats_from_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "published", "--fitness", "synthetic", "--repeats", "2"]) == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()[:2]] == ["repeat 1", "repeat 2"]
