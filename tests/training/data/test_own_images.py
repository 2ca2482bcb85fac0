"""A data set from a user's function: what it may return, what is refused, and one fingerprint for equal data."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hpcnas.errors import UsageError
from hpcnas.training.data.datasets import load_dataset, load_final_data
from hpcnas.training.data.own_images import read_own_images
from hpcnas.training.data.prepare import prepare

HEAD = "import numpy as np\nimport torch\n"
GREY = "def load(train): return np.full((9, 8, 8), 7, np.uint8), np.arange(9) % 3\n"


@pytest.fixture
def load(write_module: Callable[[str], str]) -> Callable[[str], str]:
    """Writes a module with the function `load`; returns the name of the data set."""
    return lambda text: f"{write_module(HEAD + text)}:load"


@pytest.mark.parametrize(
    ("returned", "channels"),
    [
        ("np.zeros((9, 8, 8), np.uint8), np.arange(9) % 3", 1),
        ("np.zeros((9, 8, 8, 1), np.uint8), list(np.arange(9) % 3)", 1),
        ("[torch.zeros(9, 8, 8, 3, dtype=torch.uint8), torch.arange(9) % 3]", 3),
        ("np.zeros((9, 8, 8, 5), np.uint8), (np.arange(9) % 3).astype(np.uint8)", 5),
    ],
)
def test_arrays_tensors_and_lists_of_labels_are_taken(returned: str, channels: int, load: Callable[[str], str]) -> None:
    arrays = read_own_images(load(f"def load(train): return {returned}"))
    assert arrays.train_images.shape == (9, 8, 8, channels)
    assert arrays.train_images.dtype == np.uint8
    assert arrays.train_labels.dtype == np.int64
    assert arrays.classes == 3
    assert arrays.test_images is not None


WRONG = {
    "return 3": "returned one int; it must return two, images and labels",
    "return {'images': 1}": "returned one dict",
    "return 1, 2, 3": "returned 3 values",
    "return np.zeros((9, 8, 8)), np.arange(9)": r"shape \(9, 8, 8\) and type float64; they must be uint8",
    "return np.zeros((9, 64), 'uint8'), np.arange(9)": r"shape \(9, 64\) and type uint8",
    "return np.zeros((9, 3, 8, 8), 'uint8'), np.arange(9)": "channels come last",
    "return np.zeros((9, 8, 8, 17), 'uint8'), np.arange(9)": "1 to 16 channels",
    "return np.zeros((9, 0, 0, 3), 'uint8'), np.arange(9)": "at least one pixel",
    "return np.zeros((0, 8, 8, 3), 'uint8'), np.arange(0)": "at least one image",
    "return np.zeros((9, 8, 9), 'uint8'), np.arange(9) % 3": r"shape \(8, 9, 1\), which is no square; give --image-px",
    "return np.zeros((9, 8, 8), 'uint8'), np.arange(9) % 3 * 1.0": r"labels of shape \(9,\) and type float64",
    "return np.zeros((9, 8, 8), 'uint8'), np.zeros((9, 3), int)": r"labels of shape \(9, 3\)",
    "return np.zeros((9, 8, 8), 'uint8'), np.arange(8) % 3": "9 images and 8 labels",
    "return np.zeros((9, 8, 8), 'uint8'), np.arange(9) % 3 - 1": "the label -1; labels are 0, 1, 2",
    "return np.zeros((9, 8, 8), 'uint8'), np.arange(9) % 3 + 1": "labels up to 3 but no training image of label 0",
    "return np.zeros((9, 8, 8), 'uint8'), np.arange(9) % 3 * 2": "no training image of label 1",
    "return np.zeros((9, 8, 8), 'uint8'), np.zeros(9, int)": "has the label 0 alone",
    "return np.zeros((4, 8, 8), 'uint8'), np.arange(4) % 2": "has 4 training images; a search needs at least 5",
    "return [[1, 2], [3]], [1, 2]": "returned one list that is no array",
    "raise SystemExit(3)": r"called with train=True fails \(SystemExit: 3; written_.*, line \d\); mend it first",
    "return np.zeros((9, 8, 8), 'uint8'), np.arange(9) % (3 if train else 4)": "label 3 of the test images is none",
    "return np.zeros((9, 8, 8 if train else 9), 'uint8'), np.arange(9) % 3": r"test images have shape \(8, 9, 1\)",
}


@pytest.mark.parametrize("body", WRONG)
def test_anything_else_is_one_sentence_that_names_it(body: str, load: Callable[[str], str]) -> None:
    name = load(f"def load(train): {body}")
    with pytest.raises(UsageError, match=WRONG[body]) as caught:
        read_own_images(name)
    assert str(caught.value).startswith(f"--dataset {name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1", "has no function load"),
        ("load = 1", r"is not a function; it must be callable as f\(train=\)"),
        ("def load(): pass", "got an unexpected keyword argument 'train'"),
        ("def load(:", "cannot be read"),
        ("raise SystemExit(2)", "ends the program"),
    ],
)
def test_a_function_that_cannot_be_called_is_one_sentence(text: str, told: str, load: Callable[[str], str]) -> None:
    with pytest.raises(UsageError, match=told):
        read_own_images(load(text))


def test_the_function_is_called_again_unless_its_datas_fingerprint_is_known(load: Callable[[str], str], tmp_path: Path) -> None:
    """A head calls it at every start. A worker, which is given the fingerprint, never does."""
    count = tmp_path / "calls"
    note = f"def load(train):\n    with open({str(count)!r}, 'a') as file: file.write('x')\n"
    name = load(note + GREY.replace("def load(train): ", "    "))
    cache = str(tmp_path / "cache")
    known = prepare(name, cache).fingerprint
    assert prepare(name, cache).fingerprint == known
    assert count.read_text() == "xxxx", "training and test images, twice"
    assert load_dataset(name, cache, fingerprint=known).image_px == 8
    assert load_final_data(name, cache, fingerprint=known).fingerprint == known
    assert count.read_text() == "xxxx"


def test_images_are_scaled_to_the_side_that_is_asked_for(load: Callable[[str], str], tmp_path: Path) -> None:
    """Squares or not; a constant image stays one."""
    wide = load("def load(train): return np.full((9, 8, 12, 2), 7, np.uint8), np.arange(9) % 3\n")
    data = load_dataset(wide, str(tmp_path), image_px=20)
    assert data.train.images.shape[1:] == (20, 20, 2)
    assert torch.unique(data.train.images).tolist() == [7]
    assert prepare(wide, str(tmp_path), image_px=24).fingerprint != prepare(wide, str(tmp_path), image_px=20).fingerprint


def test_without_test_images_there_is_no_full_size_training(load: Callable[[str], str], tmp_path: Path) -> None:
    name = load("def load(train): return (np.zeros((9, 8, 8), np.uint8), np.arange(9) % 3) if train else None\n")
    assert load_dataset(name, str(tmp_path)).classes == 3
    with pytest.raises(UsageError, match="has no test images; let the function return them when it is called with train=False"):
        load_final_data(name, str(tmp_path))
