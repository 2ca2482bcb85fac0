"""Data sets read from files in their real formats, split, and refused with a sentence when they are not whole."""

import errno
import fcntl
import gzip
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import hpcnas
from hpcnas.errors import DataError, UsageError
from hpcnas.training.data import sources
from hpcnas.training.data.datasets import channel_statistics, load_dataset, load_final_data, split
from hpcnas.training.data.prepare import prepare
from tests.apart import fork_server


def write_idx(path: Path, array: np.ndarray) -> None:
    header = b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wb") as file:
        file.write(header + array.tobytes())


@pytest.fixture
def fashion(tmp_path, monkeypatch):
    """A tiny Fashion-MNIST where torchvision would put it; Debian's package is out of sight."""
    monkeypatch.setattr(sources, "DEBIAN_FASHION_MNIST", tmp_path / "not-installed")
    raw = tmp_path / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.RandomState(0)
    for part, count in (("train", 50), ("t10k", 20)):
        write_idx(raw / f"{part}-images-idx3-ubyte.gz", rng.randint(0, 256, (count, 28, 28)).astype(np.uint8))
        write_idx(raw / f"{part}-labels-idx1-ubyte.gz", (np.arange(count) % 10).astype(np.uint8))
    return raw


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A tiny CIFAR-10 in the format of its python version; torchvision's checksums are those of the tiny files."""
    from torchvision.datasets import CIFAR10

    inside = tmp_path / "data" / CIFAR10.base_folder
    inside.mkdir(parents=True)

    def write(name: str, content: dict) -> str:
        (inside / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((inside / name).read_bytes()).hexdigest()

    def batch(first: int) -> dict:
        return {"data": np.full((10, 3072), first, np.uint8), "labels": list(range(10))}

    train = [[f"data_batch_{i}", write(f"data_batch_{i}", batch(i))] for i in range(1, 6)]
    test = [["test_batch", write("test_batch", batch(9))]]
    meta = {"filename": "batches.meta", "key": "label_names"}
    meta["md5"] = write("batches.meta", {"label_names": list("abcdefghij")})
    for name, value in (("train_list", train), ("test_list", test), ("meta", meta)):
        monkeypatch.setattr(CIFAR10, name, value)
    return inside


def folder_of(inside: Path) -> str:
    return str(next(parent for parent in inside.parents if parent.name == "data"))


def test_fashion_mnist_is_read_from_its_files(fashion):
    data = load_dataset("fashion-mnist", folder_of(fashion))
    assert (data.in_channels, data.image_px, data.classes) == (1, 28, 10)
    assert (len(data.train.labels), len(data.validation.labels)) == (40, 10)
    assert data.train.images.dtype == torch.uint8


def test_cifar10_is_read_through_torchvision(cifar):
    data = load_dataset("cifar10", folder_of(cifar))
    assert tuple(data.train.images.shape) == (40, 32, 32, 3)
    seen = {int(image[0, 0, 0]) for image in (*data.train.images, *data.validation.images)}
    assert seen == {1, 2, 3, 4, 5}, "the test batch, filled with 9, must not be among them"
    assert {int(image[0, 0, 0]) for image in load_final_data("cifar10", folder_of(cifar)).test.images} == {9}


def test_every_image_is_in_exactly_one_part(fashion):
    raw = sources.read_idx(fashion / "train-images-idx3-ubyte.gz")
    data = load_dataset("fashion-mnist", folder_of(fashion))
    both = torch.cat((data.train.images, data.validation.images))[..., 0].numpy()
    assert sorted(map(bytes, both)) == sorted(map(bytes, raw))


def test_the_split_is_fixed_by_its_seed_and_has_the_papers_sizes():
    train, validation = split(50_000, 0)
    assert (len(train), len(validation)) == (40_000, 10_000)
    assert not set(train.tolist()) & set(validation.tolist())
    assert torch.equal(validation, split(50_000, 0)[1])
    assert not torch.equal(validation, split(50_000, 1)[1])
    assert [len(part) for part in split(60_000, 0)] == [50_000, 10_000]
    assert validation[:3].tolist() == sorted(validation.tolist())[:3]


def test_statistics_are_exact():
    images = torch.randint(0, 256, (7, 5, 5, 3), dtype=torch.uint8)
    mean, std = channel_statistics(images)
    flat = images.reshape(-1, 3).double() / 255
    assert torch.allclose(torch.tensor(mean).double(), flat.mean(0))
    assert torch.allclose(torch.tensor(std).double(), flat.std(0, correction=0))
    assert channel_statistics(torch.zeros(2, 3, 3, 1, dtype=torch.uint8)) == ((0.0,), (1.0,))


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion-mnist"])
def test_missing_data_says_how_to_get_it_and_leaves_nothing(name, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "DEBIAN_FASHION_MNIST", tmp_path / "not-installed")
    with pytest.raises(DataError, match="--download"):
        load_dataset(name, str(tmp_path / "nothing"))


@pytest.mark.parametrize("keep", [0, 3, 20, 2000])
def test_a_truncated_idx_file_is_named(fashion, keep):
    path = fashion / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is damaged"):
        load_dataset("fashion-mnist", folder_of(fashion))


def test_images_without_their_labels_are_refused(fashion):
    write_idx(fashion / "train-labels-idx1-ubyte.gz", np.zeros(49, np.uint8))
    with pytest.raises(DataError, match="do not belong together"):
        load_dataset("fashion-mnist", folder_of(fashion))


@pytest.mark.parametrize("name", ["data_batch_3", "batches.meta"])
def test_a_truncated_cifar_file_is_refused(cifar, name):
    (cifar / name).write_bytes((cifar / name).read_bytes()[:50])
    with pytest.raises(DataError, match="damaged or incomplete"):
        load_dataset("cifar10", folder_of(cifar))


def test_a_damaged_prepared_file_is_refused(fashion):
    load_dataset("fashion-mnist", folder_of(fashion))
    prepared = next(Path(folder_of(fashion)).glob("prepared/fashion-mnist-v*/train_images.npy"))
    prepared.write_bytes(prepared.read_bytes()[:100])
    with pytest.raises(DataError, match="made anew"):
        load_dataset("fashion-mnist", folder_of(fashion))


def test_unknown_names_are_refused():
    for name in ("mnist", "folder:", ""):
        with pytest.raises(UsageError, match="choose one of"):
            load_dataset(name)


def prepare_and_count(folder: str, name: str, barrier, reads) -> None:
    """In a process of its own, which has none of the test's patches."""
    sources.DEBIAN_FASHION_MNIST = Path(folder) / "not-installed"
    read = sources.read_idx

    def counting(path):
        with reads.get_lock():
            reads.value += 1
        return read(path)

    sources.read_idx = counting
    barrier.wait()
    prepare(name, folder)


@pytest.mark.slow
def test_many_processes_prepare_once(fashion):
    context = fork_server()
    reads, barrier = context.Value("i", 0), context.Barrier(6)
    arguments = (folder_of(fashion), "fashion-mnist", barrier, reads)
    processes = [context.Process(target=prepare_and_count, args=arguments) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    assert reads.value == 4, "four files, each read by one process alone"


def test_a_file_system_without_locks_is_refused_and_left_clean(fashion, monkeypatch):
    """Lustre mounted noflock answers ENOSYS; a lock of another kind would stay closed behind a killed worker."""

    def no_flock(descriptor, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_flock)
    with pytest.raises(DataError, match=r"cannot lock files \(Function not implemented\).*--data"):
        prepare("fashion-mnist", folder_of(fashion))
    assert not (Path(folder_of(fashion)) / "prepared").exists()


def test_digits_need_nothing(tmp_path):
    data = load_dataset("digits", str(tmp_path / "nothing"))
    assert (data.image_px, data.in_channels, len(data.train.labels), len(data.validation.labels)) == (32, 1, 1200, 300)
    assert not (tmp_path / "nothing").exists()
    final = load_final_data("digits")
    assert (len(final.train.labels), len(final.test.labels)) == (1500, 297)


def test_only_the_final_training_reaches_test_images():
    """Whoever may select must not be able to see them by accident."""
    package = Path(hpcnas.__file__).parent
    users = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if "load_final_data" in path.read_text()}
    assert users <= {f"training/{name}.py" for name in ("data/datasets", "full_size/train", "full_size/batches")}
