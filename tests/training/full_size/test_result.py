"""What a full-size training leaves: one record in result.json and in the population; weights as readable as the umask says."""

import json
import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hpcnas.errors import UsageError
from hpcnas.records import Final
from hpcnas.training.full_size.result import read_result, weights_header, write_result, write_weights

OF_0_1_0 = """{"format": "hpcnas-final", "version": 1, "settings": {"model": "imagenet", "channels": 48, "dataset": "imagenet",
"steps": 7}, "digest": "d", "genotype": "{}", "individual_id": 3, "run": 1, "seed": 9, "error_top1": 20.25, "error_top5": 5.5,
"tested": 50000, "skipped": 2, "parameters": 64, "train_loss": NaN, "seconds": 1.5, "images_per_s": NaN, "gpu_hours": 0.25,
"world_size": 8, "micro_batch": 32, "devices": "8 x H100", "restarts": 1, "commit": "", "versions": {"torch": "2.4"}}"""


def old_result(folder: Path, text: str = OF_0_1_0) -> Final:
    (folder / "result.json").write_text(text, encoding="utf-8")
    final = read_result(folder)
    assert final is not None
    return final


def test_a_result_of_an_older_version_is_the_populations_record(tmp_path: Path) -> None:
    """Every column of the row comes from it; NaN, which is no JSON, becomes None."""
    final = old_result(tmp_path)
    assert (final.individual_id, final.digest, final.model, final.channels, final.dataset) == (
        3,
        "d",
        "imagenet",
        48,
        "imagenet",
    )
    assert (final.run, final.error_top1, final.error_top5, final.parameters) == (1, 20.25, 5.5, 64)
    assert (final.seconds, final.devices, final.details["settings"]["steps"]) == (1.5, "8 x H100", 7)
    assert (final.details["train_loss"], final.details["images_per_s"]) == (None, None)


def test_a_result_is_written_as_it_was_read(tmp_path: Path) -> None:
    """All names at the top level, with the format's name and version: other programs read them there."""
    final = old_result(tmp_path)
    write_result(tmp_path, final)
    assert read_result(tmp_path) == final
    written = json.loads((tmp_path / "result.json").read_text())
    assert written == json.loads(OF_0_1_0.replace("NaN", "null"))


@pytest.mark.parametrize("changed", [('"skipped": 2, ', ""), ('"skipped"', '"left_out"'), ('"model": "imagenet", ', "")])
def test_a_result_of_other_names_is_refused(changed: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no result of hpcnas .*(skipped|model)"):
        old_result(tmp_path, OF_0_1_0.replace(*changed))


def test_weights_say_which_training_left_them(tmp_path: Path) -> None:
    header = weights_header(old_result(tmp_path))
    assert header["genotype"] == "{}"
    assert json.loads(header["settings"])["channels"] == 48
    assert float(header["error_top1"]) == 20.25


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
