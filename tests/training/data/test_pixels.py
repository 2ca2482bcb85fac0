"""Every kind of image that Pillow opens becomes 8-bit RGB rightly, or is named as what it is."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpcnas.errors import DataError
from hpcnas.training.data.datasets import load_dataset
from hpcnas.training.data.pixels import IMAGE_SUFFIXES, UNREADABLE, as_rgb, is_class, is_image, left_out, open_image
from hpcnas.training.data.sources import read_source

RAMP = np.linspace(0, 1, 64).reshape(8, 8)
GREY = (RAMP * 255).round().astype(np.uint8)


def of_mode(mode: str) -> Image.Image:
    """A ramp from black to white."""
    if mode == "F":
        return Image.fromarray(RAMP.astype(np.float32))
    if mode == "I":
        return Image.fromarray((RAMP * 65535).round().astype(np.int32))
    if mode.startswith("I;16"):
        return Image.fromarray((RAMP * 65535).round().astype(np.uint16))
    if mode in ("LA", "RGBA", "PA"):
        return Image.fromarray(GREY).convert("LA" if mode == "PA" else mode).convert(mode)
    return Image.fromarray(GREY).convert(mode)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_a_ramp_stays_a_ramp_in_every_mode(mode):
    pixels = np.asarray(as_rgb(of_mode(mode))).astype(int)
    assert pixels.shape == (8, 8, 3)
    assert np.abs(pixels - GREY[..., None]).max() <= 2


def test_black_and_white_stay_so():
    pixels = np.asarray(as_rgb(Image.fromarray(GREY).convert("1", dither=Image.Dither.NONE)))
    assert set(pixels.flatten().tolist()) == {0, 255}


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_not_cut_off_at_255(form):
    file = io.BytesIO()
    of_mode("I;16").save(file, form)
    with open_image(file) as image:
        assert np.abs(np.asarray(as_rgb(image))[..., 0].astype(int) - GREY).max() <= 1


STRANGE_VALUES = [np.float32([[0, 2.0]]), np.float32([[np.nan, 0]]), np.int32([[0, 70_000]]), np.int32([[-1, 5]])]


@pytest.mark.parametrize("values", STRANGE_VALUES)
def test_values_without_a_known_range_are_refused(values):
    with pytest.raises(ValueError, match="its "):
        as_rgb(Image.fromarray(values))


def test_transparent_palettes_are_read():
    image = Image.fromarray(GREY).convert("P")
    file = io.BytesIO()
    image.save(file, "PNG", transparency=bytes([0, 128, 255]))
    with open_image(file) as read:
        assert np.asarray(as_rgb(read)).shape == (8, 8, 3)


def test_names_tell_classes_and_images_from_what_programs_leave_behind():
    assert [name for name in ("daisy", ".ipynb_checkpoints", "__MACOSX", "@eaDir", "0", "_x") if is_class(name)] == [
        "daisy",
        "0",
        "_x",
    ]
    names = ["a.PNG", "b.Tif", "._a.png", ".DS_Store", "notes.txt", "c.jpeg.part", "d.gif", "raw"]
    assert [name for name in names if is_image(name)] == ["a.PNG", "b.Tif", "d.gif"]
    assert left_out(names) == "1 .part, 1 .txt, 1 without an ending"


# ------------------------------------------------------------------ a folder of one's own


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes of six images."""
    rng = np.random.default_rng(0)
    for kind in ("daisy", "rose"):
        folder = tmp_path / "images" / "train" / kind
        folder.mkdir(parents=True)
        for index in range(6):
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return tmp_path / "images"


def read(images: Path):
    return read_source(f"folder:{images}", images, False)


def test_hidden_folders_and_files_are_neither_classes_nor_images(images, caplog):
    (images / "train/.ipynb_checkpoints").mkdir()
    (images / "train/.ipynb_checkpoints/0.png").write_bytes((images / "train/daisy/0.png").read_bytes())
    (images / "train/rose/._0.png").write_bytes(b"\0\5\26\7Mac OS X")
    (images / "train/.DS_Store").touch()
    (images / "train/rose/.DS_Store").touch()
    found = read(images)
    assert (found.classes, len(found.train_labels)) == (2, 12)
    assert caplog.text == ""


def test_gif_and_tiff_are_read_and_what_is_no_image_is_counted_in_one_line(images, caplog):
    with Image.open(images / "train/daisy/0.png") as image:
        image.save(images / "train/rose/x.gif", save_all=True, append_images=[image.rotate(90)])
        image.save(images / "train/rose/y.TIF", format="TIFF")
    for name in ("a.txt", "b.txt", "c.xcf"):
        (images / "train/rose" / name).write_text("no image")
    assert len(read(images).train_labels) == 14
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["2 .txt, 1 .xcf"]


def test_a_photograph_is_turned_as_its_camera_says(images):
    upright = np.zeros((40, 40, 3), np.uint8)
    upright[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(upright[::-1, ::-1].copy()).save(images / "train/daisy/0.png", exif=exif)
    first = read(images).train_images[0]
    assert first[:12].min() > 200
    assert first[20:].max() < 50


UNREADABLE_FILES = {
    "empty.png": b"",
    "words.png": b"these are words",
    "cut.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "huge.png": None,
    "dead.png": None,
}


@pytest.mark.parametrize("name", UNREADABLE_FILES)
def test_a_file_that_cannot_be_read_is_named_in_one_sentence(images, name):
    path = images / "train/rose" / name
    if name == "huge.png":
        Image.MAX_IMAGE_PIXELS, limit = None, Image.MAX_IMAGE_PIXELS
        Image.new("1", (14_000, 14_000)).save(path)
        Image.MAX_IMAGE_PIXELS = limit
    elif name == "dead.png":
        path.symlink_to("nowhere.png")
    else:
        path.write_bytes(UNREADABLE_FILES[name])
    with pytest.raises(DataError, match=f"{name} cannot be read as an image"):
        load_dataset(f"folder:{images}", str(images / "cache"))


@pytest.mark.slow
@pytest.mark.parametrize("ending", IMAGE_SUFFIXES)
def test_one_damaged_byte_anywhere_in_a_header_is_an_unreadable_image_or_none_at_all(ending):
    file = io.BytesIO()
    form = {".jpg": "JPEG", ".tif": "TIFF", ".pbm": "PPM", ".pgm": "PPM", ".pnm": "PPM"}.get(ending, ending[1:].upper())
    Image.fromarray(GREY).save(file, form)
    content = file.getvalue()
    for at in range(min(64, len(content))):
        for value in (0, 255):
            damaged = content[:at] + bytes([value]) + content[at + 1 :]
            try:
                with open_image(io.BytesIO(damaged)) as image:
                    assert as_rgb(image).mode == "RGB"
            except UNREADABLE:
                continue


def test_four_images_are_too_few_before_anything_is_trained(images):
    for path in sorted((images / "train").rglob("*.png")):
        if int(path.stem) >= 2:
            path.unlink()
    with pytest.raises(DataError, match=r"holds 4 images.*at least 5"):
        read(images)


def test_a_name_that_is_no_utf8_is_an_image_like_any_other(images):
    (images / "train/rose/0.png").rename(images / "train/rose" / "caf\udce9.png")
    assert len(load_dataset(f"folder:{images}", str(images / "cache")).train.labels) == 10
