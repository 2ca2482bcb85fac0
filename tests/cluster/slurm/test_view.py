"""What `hpcnas status` says of Slurm when Slurm says nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from hpcnas.cluster.ledger import Ledger
from hpcnas.cluster.slurm.view import SlurmView, pending_reasons, slurm_view
from hpcnas.run_folder import RunFolder


def test_no_answer_is_told_and_is_not_an_empty_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = RunFolder(tmp_path)
    assert slurm_view(folder) is None, "a run without jobs is not asked about"
    ledger = Ledger(folder)
    ledger.write(replace(ledger.new("slurm", 2), job="12"))
    view = slurm_view(folder)
    assert view == SlurmView(is_known=False)
    assert view is not None
    assert pending_reasons(folder) == ()
    assert view.describe() == "unknown, squeue failed or took more than 5 s; a search does not wait for it"


def test_without_accounting_the_hours_are_left_out() -> None:
    view = SlurmView((("n1", 2), ("n2", 1)), (("Priority", 3),))
    assert view.describe() == "3 running (n1: 2, n2: 1), 3 waiting (Priority: 3)"
