"""ImageNet's images for one rank: loader processes decode and crop, the device gets them one batch ahead."""

import os
import random
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hpcnas.errors import DataError
from hpcnas.training.data.decode import PLAIN, central_crop, decode_crop, draw_crop, draw_look, image_size
from hpcnas.training.data.image_finish import Damage, ImageBatch, finish
from hpcnas.training.data.image_folder import ImageSet
from hpcnas.training.data.pixels import UNREADABLE, why_unreadable
from hpcnas.training.full_size.batches import Batch, Shard

VALIDATION_BATCH = 64
LOADER_TERM_S = 20  # how long a loader process may live on after SIGTERM, while its training saves a checkpoint
Key = tuple[int, int]  # epoch and index of an image; epoch -1 is validation


class ImageBatches(Dataset[ImageBatch]):
    """Reads the images of one batch; runs in loader processes.

    Everything random about an image follows from (seed, epoch, index). Neither the number of loaders, nor that of ranks, nor
    a restart changes the network's input.
    """

    def __init__(self, images: ImageSet, crop_px: int, seed: int) -> None:
        self.images, self.crop_px, self.seed = images, crop_px, seed

    def __getitems__(self, keys: Sequence[Key]) -> ImageBatch:
        """The batch of these images. An image that cannot be read is replaced in training, marked in validation."""
        pixels = torch.empty(len(keys), 3, self.crop_px, self.crop_px, dtype=torch.uint8)
        labels: list[int] = []
        looks: list[tuple[float, float]] = []
        skipped: list[Damage] = []
        for place, (epoch, index) in enumerate(keys):
            label, look = self._read_into(pixels[place], epoch, index, skipped)
            labels.append(label)
            looks.append(look)
        return ImageBatch(pixels, torch.tensor(labels), torch.tensor(looks), tuple(skipped))

    def _read_into(self, out: Tensor, epoch: int, index: int, skipped: list[Damage]) -> tuple[int, tuple[float, float]]:
        rng = random.Random(f"{self.seed}/{epoch}/{index}")
        for distance in range(min(len(self.images), 50)):
            at = (index + distance) % len(self.images)
            path = self.images.path(at)
            try:
                with open(path, "rb") as file:
                    content = file.read()
                size = image_size(content)
                box = draw_crop(*size, rng) if epoch >= 0 else central_crop(*size)
                crop = decode_crop(content, size, box, self.crop_px)
            except UNREADABLE as error:
                skipped.append((path, why_unreadable(error)))
                if epoch < 0:
                    out.zero_()
                    return -1, (0.0, 1.0)
                continue
            look = draw_look(rng) if epoch >= 0 else PLAIN
            out.copy_(crop.flip(2) if look.is_flipped else crop)
            return int(self.images.labels[at]), (look.brightness, look.contrast)
        raise DataError(f"50 images in a row cannot be read, the last one {skipped[-1][0]}; check the data set")


class Schedule:
    """The batches of a rank in the order of the steps: an epoch is a permutation, its last partial batch is dropped."""

    def __init__(self, images: int, shard: Shard, first: int, last: int, micro_batch: int) -> None:
        self._images, self._shard = images, shard
        self._steps, self._micro_batch = range(first, last), micro_batch

    def __iter__(self) -> Iterator[list[Key]]:
        shard = self._shard
        per_epoch = self._images // shard.batch
        order, known = torch.empty(0), -1
        for step in self._steps:
            epoch, place = divmod(step, per_epoch)
            if epoch != known:
                generator = torch.Generator().manual_seed((shard.seed + epoch * 0x9E3779B97F4A7C15) % 2**63)
                order, known = torch.randperm(self._images, generator=generator), epoch
            mine = order[place * shard.batch : (place + 1) * shard.batch][shard.places]
            for piece in torch.split(mine, self._micro_batch):
                yield [(epoch, int(index)) for index in piece]


class FolderData:
    """Images in ImageNet's layout, as FullData.

    Args:
        loaders: processes that decode; 0 decodes in this one.
        log_line: gets a line for each image that cannot be read.
    Raises:
        DataError: fewer images than a batch.
    """

    in_channels = 3

    def __init__(self, train: ImageSet, val: ImageSet, shard: Shard, *, loaders: int, log_line: Callable[[str], None]) -> None:
        if len(train) < shard.batch:
            raise DataError(f"{train.folder} has {len(train)} images, fewer than --batch {shard.batch}; give a smaller --batch")
        self.images, self.classes, self.tested = len(train), len(train.classes), len(val)
        self.corrupt_limit = max(10, len(train) // 1000)
        self.corrupt: set[str] = set()
        self._train, self._val = train, val
        self._shard, self._device, self._loaders, self._log_line = shard, shard.device, loaders, log_line
        self._running: Iterator[ImageBatch] | None = None

    @property
    def skipped(self) -> int:
        """The number of images that could not be read."""
        return len(self.corrupt)

    def batches(self, first: int, last: int, micro_batch: int) -> Generator[Batch, None, None]:
        """This rank's share of the steps first..last-1, see `FullData.batches`."""
        schedule = Schedule(self.images, self._shard, first, last, micro_batch)
        yield from self._load(self._train, schedule)

    def test_batches(self) -> Iterator[Batch]:
        """This rank's share of val/, see `FullData.test_batches`."""
        mine = range(self._shard.rank, len(self._val), self._shard.world_size)
        keys = [[(-1, index) for index in mine[at : at + VALIDATION_BATCH]] for at in range(0, len(mine), VALIDATION_BATCH)]
        yield from self._load(self._val, keys)

    def close(self) -> None:
        """End the loader processes."""
        self._running = None

    def _load(self, images: ImageSet, keys: Schedule | list[list[Key]]) -> Iterator[Batch]:
        on_gpu = self._device.type == "cuda"
        loader = DataLoader(
            ImageBatches(images, self._shard.crop_px, self._shard.seed),
            batch_sampler=keys,
            num_workers=self._loaders,
            collate_fn=_unchanged,  # `__getitems__` gives whole batches
            pin_memory=on_gpu,
            worker_init_fn=_start_loader if self._loaders else None,
            generator=torch.Generator(),  # else it would draw from the generator that the checkpoint holds
            prefetch_factor=4 if self._loaders else None,
            multiprocessing_context="fork" if self._loaders else None,  # the lists of files are shared, not copied
        )
        self._running = iter(loader)
        return self._on_device(self._running) if on_gpu else map(self._ready, self._running)

    def _on_device(self, loaded: Iterator[ImageBatch]) -> Iterator[Batch]:
        """Copy and finish on a stream of its own, one batch ahead of the one that is trained on."""
        stream = torch.cuda.Stream(self._device)
        upcoming: Batch | None = None
        for batch in loaded:
            with torch.cuda.stream(stream):
                following = self._ready(batch)
            if upcoming is not None:
                yield upcoming
            torch.cuda.current_stream(self._device).wait_stream(stream)
            for tensor in following:
                tensor.record_stream(torch.cuda.current_stream(self._device))
            upcoming = following
        if upcoming is not None:
            yield upcoming

    def _ready(self, batch: ImageBatch) -> Batch:
        self._note_skipped(batch.skipped)
        pixels, looks, labels = (t.to(self._device, non_blocking=True) for t in (batch.pixels, batch.looks, batch.labels))
        return finish(pixels, looks).contiguous(memory_format=torch.channels_last), labels

    def _note_skipped(self, skipped: tuple[Damage, ...]) -> None:
        for image, reason in skipped:
            if image in self.corrupt:
                continue
            self.corrupt.add(image)
            self._log_line(
                f"skipped an image that cannot be read ({len(self.corrupt)} of at most {self.corrupt_limit}): {image} "
                f"({reason})"
            )
            if len(self.corrupt) > self.corrupt_limit:
                raise DataError(
                    f"{len(self.corrupt)} images cannot be read, the last one {image}; repair the data set, or remove "
                    "those images"
                )


def loaders_per_rank(local_size: int) -> int:
    """Decoding processes for each rank: the CPUs that Slurm gave the task, less one for the training itself."""
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    cpus = int(given) if given.isdecimal() else len(os.sched_getaffinity(0)) // local_size
    return max(0, cpus - 1)


def _unchanged(batch: Any) -> Any:
    return batch


def _start_loader(number: int) -> None:
    """Loaders live until their training has saved its checkpoint: Slurm signals them as well, and they would die first."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(LOADER_TERM_S))
    for ignored in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(ignored, signal.SIG_IGN)
