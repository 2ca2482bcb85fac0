"""What a full-size training leaves is as readable as the umask says."""

import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hpcnas.training.full_size.result import write_weights


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_weights_have_the_mode_that_the_umask_gives(umask: int, mode: int, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    before = os.umask(umask)
    try:
        write_weights(path, {"a": torch.arange(6).reshape(2, 3).t()}, {"note": "n"})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert torch.equal(load_file(path)["a"], torch.arange(6).reshape(2, 3).t())
