"""A user's own images in one folder for each class: scaled, split, read anew once changed, refused with a sentence."""

from pathlib import Path

import pytest
from PIL import Image

from hpcnas.errors import DataError
from hpcnas.training.data.datasets import load_dataset, load_final_data


def write_classes(folder: Path, size=(40, 30)) -> None:
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", size, (label * 200, 10, 10)).save(folder / name / f"{i}.png")


def test_a_folder_of_images_is_scaled_and_split(tmp_path):
    write_classes(tmp_path / "images" / "train")
    write_classes(tmp_path / "images" / "test")
    name = f"folder:{tmp_path / 'images'}"
    data = load_dataset(name, str(tmp_path / "cache"))
    assert (data.image_px, data.in_channels, data.classes) == (32, 3, 2)
    assert (len(data.train.labels), len(data.validation.labels)) == (8, 2)
    assert all(
        int(image[0, 0, 0]) == 200 * int(label) for image, label in zip(data.train.images, data.train.labels, strict=True)
    )
    assert len(load_final_data(name, str(tmp_path / "cache")).test.labels) == 10


def test_a_changed_folder_is_read_anew(tmp_path):
    write_classes(tmp_path / "images")
    name = f"folder:{tmp_path / 'images'}"
    assert len(load_dataset(name, str(tmp_path / "cache")).train.labels) == 8
    Image.new("RGB", (32, 32)).save(tmp_path / "images" / "cat" / "new.png")
    assert len(load_dataset(name, str(tmp_path / "cache")).train.labels) == 9
    with pytest.raises(DataError, match="no test images"):
        load_final_data(name, str(tmp_path / "cache"))


def test_bad_folders_are_refused(tmp_path):
    write_classes(tmp_path / "images")
    (tmp_path / "images" / "cat" / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png cannot be read"):
        load_dataset(f"folder:{tmp_path / 'images'}", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="no such folder"):
        load_dataset(f"folder:{tmp_path / 'nowhere'}", str(tmp_path / "cache"))
    (tmp_path / "empty" / "one").mkdir(parents=True)
    with pytest.raises(DataError, match="at least 2"):
        load_dataset(f"folder:{tmp_path / 'empty'}", str(tmp_path / "cache"))
