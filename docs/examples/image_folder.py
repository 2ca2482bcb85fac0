"""Writes a data set as a folder of images: `python image_folder.py images`. Replace `my_images` by your own.

    hpcnas head --preset smoke --cluster local --dataset folder:images --run runs/images

The search needs `train`; a full-size training also reads `test`. Here the images are scikit-learn's handwritten digits.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

TEST_SHARE = 0.2


def my_images() -> Iterator[tuple[NDArray[np.uint8], str]]:
    """Each image, uint8 (height, width) or (height, width, 3), with the name of its class."""
    digits = load_digits()
    for image, label in zip(digits.images, digits.target, strict=True):
        yield (image * (255 / 16)).astype(np.uint8), f"digit-{label}"


def write_folder(folder: Path, seed: int = 0) -> dict[str, int]:
    """Write FOLDER/train/CLASS/NUMBER.png and FOLDER/test/CLASS/NUMBER.png; return how many images each part has."""
    rng = np.random.default_rng(seed)
    written = {"train": 0, "test": 0}
    for number, (image, name) in enumerate(my_images()):
        part = "test" if rng.random() < TEST_SHARE else "train"
        (folder / part / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / part / name / f"{number:05d}.png")
        written[part] += 1
    return written


def main() -> None:
    """Write the folder and print what it holds."""
    parser = argparse.ArgumentParser(description="Writes a data set as a folder of images.")
    parser.add_argument("folder", type=Path)
    for part, images in write_folder(parser.parse_args().folder).items():
        print(f"{part}: {images} images")


if __name__ == "__main__":
    main()
