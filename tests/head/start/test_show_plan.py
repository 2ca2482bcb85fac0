"""What `--dry-run` shows."""

from pathlib import Path

import pytest

from hpcnas.config import RunConfig
from hpcnas.head.start import show_plan
from hpcnas.run_folder import RunFolder
from hpcnas.training.data import prepare


def test_a_dry_run_with_download_fetches_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    digits = prepare.prepare("digits")

    def note(name: str, folder: str, download: bool, image_px: int) -> prepare.Prepared:
        asked.append(download)
        return digits

    monkeypatch.setattr(prepare, "prepare", note)
    config = RunConfig.from_dict({"cluster": {"cluster": "local", "workers": 1}})
    shown = show_plan(RunFolder(tmp_path / "run"), config, download=True)
    assert "would start" in shown
    assert asked == [True]
    assert not (tmp_path / "run").exists()
