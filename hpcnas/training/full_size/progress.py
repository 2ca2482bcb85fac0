"""Shows a full-size training to a person: a bar in a terminal, lines in a log, scalars in TensorBoard."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TextIO

from torch import Tensor

from hpcnas.errors import TrainingDiverged, UsageError


class Progress(Protocol):
    """Shows every step on rank 0. The loss is read rarely, because reading it waits for the device.

    Attributes:
        loss: the last one that was looked at; nan before.
    """

    loss: float

    def advance(self, step: int, loss: Tensor, learning_rate: float) -> None:
        """A step was done; `step` counts the done ones, `loss` is a scalar on the device."""
        ...

    def log(self, line: str) -> None:
        """A line for the person, in a log with the time."""
        ...


class LogProgress:
    """A line every `every_s` seconds: step, loss, learning rate, images/s, time left.

    Args:
        steps, batch: of the whole training.
        first: steps that were done before this process.
        scalars: a TensorBoard writer or None.
    """

    def __init__(
        self, title: str, steps: int, batch: int, first: int, every_s: float, out: TextIO, scalars: object | None = None
    ) -> None:
        self.title, self.steps, self.batch = title, steps, batch
        self._every_s, self._out, self._scalars = every_s, out, scalars
        self._seen, self._since = first, time.monotonic()
        self.loss = math.nan

    def advance(self, step: int, loss: Tensor, learning_rate: float) -> None:
        """Show the step if the last one shown is `every_s` ago, or if it is the last of all.

        Raises:
            TrainingDiverged: the loss is not finite any more.
        """
        now = time.monotonic()
        if now - self._since < self._every_s and step < self.steps:
            return
        self.loss = loss.item()
        rate = (step - self._seen) * self.batch / max(now - self._since, 1e-9)
        self._seen, self._since = step, now
        self.show(step, learning_rate, rate)
        self._write_scalars(step, learning_rate, rate)
        if not math.isfinite(self.loss):
            raise TrainingDiverged(
                f"{self.title}: the training loss is {self.loss} at step {step}; try --precision fp32, or another --seed"
            )

    def show(self, step: int, learning_rate: float, images_per_s: float) -> None:
        """Write the line."""
        left_s = (self.steps - step) * self.batch / max(images_per_s, 1e-9)
        self.log(
            f"{self.title} step {step}/{self.steps} loss {self.loss:.4f} lr {learning_rate:g} {images_per_s:.0f} "
            f"images/s {_clock(left_s)} left"
        )

    def log(self, line: str) -> None:
        """Write the line with the time before it."""
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}", file=self._out, flush=True)

    def _write_scalars(self, step: int, learning_rate: float, images_per_s: float) -> None:
        if self._scalars is not None:
            for name, value in (("loss", self.loss), ("learning rate", learning_rate), ("images per second", images_per_s)):
                self._scalars.add_scalar(name, value, step)  # type: ignore[attr-defined]


class BarProgress(LogProgress):
    """The same as a bar, on a terminal."""

    def __init__(self, title: str, steps: int, batch: int, first: int, bar: object, scalars: object | None = None) -> None:
        super().__init__(title, steps, batch, first, 0.5, sys.stderr, scalars)
        self._bar = bar
        self._task = bar.add_task(title, total=steps, completed=first, note="")  # type: ignore[attr-defined]

    def show(self, step: int, learning_rate: float, images_per_s: float) -> None:
        """Move the bar."""
        note = f"loss {self.loss:.3f}  lr {learning_rate:g}  {images_per_s:.0f} images/s"
        self._bar.update(self._task, completed=step, note=note)  # type: ignore[attr-defined]

    def log(self, line: str) -> None:
        """Print above the bar."""
        self._bar.console.print(line, markup=False, highlight=False)  # type: ignore[attr-defined]


class SilentProgress:
    """Shows nothing, for the ranks after the first. A damaged image is a line of the log on any of them."""

    loss = math.nan

    def advance(self, step: int, loss: Tensor, learning_rate: float) -> None:
        """Nothing."""

    def log(self, line: str) -> None:
        """Write the line to stderr."""
        print(line, file=sys.stderr, flush=True)


class Reporter:
    """Says lines wherever progress is shown at the moment, with the rank in front where there are several.

    Attributes:
        progress: what is shown now; None: lines go to stderr.
    """

    def __init__(self, rank: int, world_size: int, run: int | None = None) -> None:
        self._prefix = f"rank {rank}: " if world_size > 1 else ""
        if run is not None:  # one of several that are trained together
            self._prefix += f"run {run}: "
        self.progress: Progress | None = None

    def __call__(self, line: str) -> None:
        """Say one line."""
        (self.progress or SilentProgress()).log(self._prefix + line)


@contextlib.contextmanager
def shown(
    title: str, steps: int, batch: int, first: int, *, is_first: bool, every_s: float, scalars: object | None
) -> Iterator[Progress]:
    """The right progress for this process: none but on rank 0, a bar if its stderr is a terminal, else lines."""
    if not is_first:
        yield SilentProgress()
    elif sys.stderr.isatty():
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        from rich.console import Console

        with Bar(*columns, console=Console(stderr=True, markup=False)) as bar:
            yield BarProgress(title, steps, batch, first, bar, scalars)
    else:
        yield LogProgress(title, steps, batch, first, every_s, sys.stderr, scalars)


def tensorboard_writer(folder: Path) -> object:
    """A writer of TensorBoard scalars.

    Raises:
        UsageError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "--tensorboard needs the package tensorboard; install it with `pip install tensorboard`, or leave the option out"
        ) from error
    return SummaryWriter(str(folder))


def _clock(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60}:{minutes % 60:02d} h"
