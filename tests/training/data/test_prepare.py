"""Prepared data sets: one fingerprint for equal images, found by it without a look at the files."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpcnas.errors import DataError
from hpcnas.training.data import sources
from hpcnas.training.data.datasets import load_dataset
from hpcnas.training.data.prepare import prepare


def write(folder: Path, classes: int = 2, count: int = 6, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for kind in range(classes):
        (folder / f"class{kind}").mkdir(parents=True, exist_ok=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"class{kind}" / f"{index}.png")
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write(tmp_path / "images")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o027, 0o750), (0o002, 0o775)])
def test_prepared_images_are_shared_as_the_umask_says(images: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        fingerprint(images)
    finally:
        os.umask(before)
    folders = [path for path in (images.parent / "cache" / "prepared").iterdir() if path.is_dir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {mode}


def fingerprint(images: Path) -> str:
    return prepare(f"folder:{images}", str(images.parent / "cache")).fingerprint


def test_equal_images_have_one_fingerprint_wherever_they_lie(images: Path, tmp_path: Path) -> None:
    assert fingerprint(images) == fingerprint(write(tmp_path / "copy"))
    for path in images.rglob("*.png"):
        os.utime(path)
    assert fingerprint(images) == fingerprint(tmp_path / "copy")


@pytest.mark.parametrize("change", ["an image more", "an image less", "another image", "a class more", "labels exchanged"])
def test_another_data_set_has_another_fingerprint(images: Path, change: str) -> None:
    before = fingerprint(images)
    first, second = images / "class0/0.png", images / "class1/0.png"
    if change == "an image more":
        Image.new("RGB", (32, 32)).save(images / "class0/9.png")
    elif change == "an image less":
        first.unlink()
    elif change == "another image":
        Image.new("RGB", (32, 32)).save(first)
    elif change == "a class more":
        write(images, classes=3)
    else:
        one, two = first.read_bytes(), second.read_bytes()
        first.write_bytes(two)
        second.write_bytes(one)
    assert fingerprint(images) != before


def test_workers_find_what_the_head_prepared_without_a_look_at_the_images(images: Path, tmp_path: Path, monkeypatch) -> None:
    """200 workers times 100,000 images would be 20 million looks at a shared disk."""
    name, cache = f"folder:{images}", str(tmp_path / "cache")
    known = prepare(name, cache).fingerprint
    looked: list[str] = []
    stat, listdir, scandir = os.stat, os.listdir, os.scandir

    def noted(call, path, *arguments, **words):
        looked.append(os.fspath(path) if not isinstance(path, int) else str(path))
        return call(path, *arguments, **words)

    monkeypatch.setattr(os, "stat", lambda path, *a, **k: noted(stat, path, *a, **k))
    monkeypatch.setattr(os, "listdir", lambda path=".", *a, **k: noted(listdir, path, *a, **k))
    monkeypatch.setattr(os, "scandir", lambda path=".", *a, **k: noted(scandir, path, *a, **k))
    data = load_dataset(name, cache, fingerprint=known)
    assert len(data.train.labels) + len(data.validation.labels) == 12
    assert [path for path in looked if str(images) in path] == []
    load_dataset(name, cache)
    assert [path for path in looked if str(images) in path] != [], "this test sees such looks"


def test_images_that_are_not_the_runs_are_refused(images: Path, tmp_path: Path) -> None:
    name, cache = f"folder:{images}", str(tmp_path / "cache")
    with pytest.raises(DataError, match=r"other images, labels or classes than when the run began.*--run"):
        load_dataset(name, cache, fingerprint="0" * 64)


def test_a_failed_download_is_not_called_damaged(tmp_path: Path, monkeypatch) -> None:
    """And says nothing about a folder to delete, which is not there."""
    import torchvision.datasets.utils as utils

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Temporary failure in name resolution")

    monkeypatch.setattr(utils, "_urlretrieve", unreachable)
    monkeypatch.setattr(sources, "DEBIAN_FASHION_MNIST", tmp_path / "not-installed")
    for name in ("cifar10", "cifar100", "fashion-mnist"):
        with pytest.raises(DataError, match=r"could not be fetched.*check the network") as caught:
            prepare(name, str(tmp_path / "data"), download=True)
        assert "damaged" not in str(caught.value)
        assert "delete" not in str(caught.value)
