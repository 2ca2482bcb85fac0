"""A container or a daemon may have no home folder: nothing that needs none fails for it."""

import os
import tempfile
from pathlib import Path

import pytest

from hpcnas.errors import UsageError
from hpcnas.system.home import cache_folder, expand_home
from hpcnas.training.prepare import prepare


@pytest.fixture
def _no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.mark.usefixtures("_no_home")
def test_a_path_in_a_home_that_is_not_there_is_one_sentence_and_any_other_is_itself() -> None:
    assert expand_home("/data/x", "") == Path("/data/x")
    with pytest.raises(UsageError, match=r"^~/x has no meaning here: \$HOME is not set.*; name a folder with --data$"):
        expand_home("~/x", "name a folder with --data")


def test_a_cache_without_a_home_is_this_users_alone(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    assert cache_folder("kernels") == Path("~/.cache/hpcnas/kernels").expanduser()
    request.getfixturevalue("_no_home")
    folder = cache_folder("kernels")
    assert folder == tmp_path / f"hpcnas-{os.getuid()}" / "kernels"
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    folder.parent.chmod(0o777)
    with pytest.raises(PermissionError, match="others may write into it"):
        cache_folder("kernels")


@pytest.mark.usefixtures("_no_home")
def test_a_link_that_another_user_left_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"hpcnas-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        cache_folder("kernels")


@pytest.mark.usefixtures("_no_home")
def test_digits_need_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPCNAS_DATA", raising=False)
    assert prepare("digits").classes == 10
    with pytest.raises(UsageError, match=r"name a folder with --data or \$HPCNAS_DATA"):
        prepare("cifar10")
