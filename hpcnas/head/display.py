"""Shows a live picture on a terminal, log lines elsewhere. A terminal that is closed stops nothing."""

import shlex
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcnas.system.durations import duration

if TYPE_CHECKING:
    from rich.table import Table

LINE_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The run at one moment, for people.

    Attributes:
        best: (id, fitness) of the fittest so far.
        eta_s: seconds until the last step (population.pace); None while unknown.
        note: what the head is doing beside searching, such as draining; mostly "".
    """

    run: str
    steps: int
    evaluated: int
    queued: int
    leased: int
    failed: int
    workers: int
    wanted: int
    best: tuple[int, float] | None
    eta_s: float | None
    elapsed_s: float
    note: str = ""

    def line(self) -> str:
        """One line of a log."""
        eta = "" if self.eta_s is None else f", ETA {duration(self.eta_s)}"
        return self.facts() + eta + (f"; {self.note}" if self.note else "")

    def facts(self) -> str:
        """The parts that events change, not time alone; without the note."""
        parts = [f"{self.evaluated}/{self.steps} evaluated", f"{self.leased} training", f"{self.workers}/{self.wanted} workers"]
        if self.queued:
            parts.append(f"{self.queued} queued")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.best:
            parts.append(f"best {100 * self.best[1]:.2f} % (genotype {self.best[0]})")
        return ", ".join(parts)


class Display(ABC):
    """Shows snapshots and says single lines."""

    @abstractmethod
    def show(self, snapshot: Snapshot) -> None:
        """Take the newest state; may show it later or not at all."""

    @abstractmethod
    def log(self, line: str) -> None:
        """Print one line now."""

    def close(self) -> None:
        """Leave the terminal in order."""
        return


class PlainDisplay(Display):
    """Log lines: one whenever something changed, at most every ten seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shown = ("", "")
        self._shown_s = -LINE_EVERY_S
        self._is_open = True

    def show(self, snapshot: Snapshot) -> None:
        """Print the state if it changed."""
        news = (snapshot.facts(), snapshot.note.partition("; trying again in")[0])  # a countdown is no news
        if news != self._shown and self._clock() - self._shown_s >= LINE_EVERY_S:
            self._shown, self._shown_s = news, self._clock()
            self.log(snapshot.line())

    def log(self, line: str) -> None:
        """Print with the time of day; a closed pipe or terminal ends the printing, not the search."""
        if not self._is_open or sys.stdout is None:
            return
        try:
            print(time.strftime("%H:%M:%S "), line, sep="", flush=True)
        except (OSError, ValueError):  # ValueError: the file object was closed
            self._is_open = False


class RichDisplay(Display):
    """A live picture: progress bar, workers, best fitness, failures."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(), refresh_per_second=4, transient=True)
        self._live.start()
        self._is_open = True

    def show(self, snapshot: Snapshot) -> None:
        """Draw the state."""
        self._guard(lambda: self._live.update(_picture(snapshot)))

    def log(self, line: str) -> None:
        """Print above the picture."""
        self._guard(lambda: self._live.console.print(line, markup=False, highlight=False))

    def close(self) -> None:
        """Take the picture away; lines that were said stay."""
        self._guard(self._live.stop)

    def _guard(self, draw: Callable[[], None]) -> None:
        if not self._is_open:
            return
        try:
            draw()
        except (OSError, ValueError):  # the terminal is gone
            self._is_open = False


def make_display() -> Display:
    """A picture on a terminal, log lines elsewhere."""
    return RichDisplay() if sys.stdout is not None and sys.stdout.isatty() else PlainDisplay()


def _picture(snapshot: Snapshot) -> "Table":
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(min_width=40)
    eta = f"ETA {duration(snapshot.eta_s)}" if snapshot.eta_s is not None else ""
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        ProgressBar(total=snapshot.steps, completed=snapshot.evaluated, width=30), f"{snapshot.evaluated}/{snapshot.steps}", eta
    )
    table.add_row("evaluated", bar)
    table.add_row("training", f"{snapshot.leased}" + (f"   queued {snapshot.queued}" if snapshot.queued else ""))
    table.add_row("workers", f"{snapshot.workers} of {snapshot.wanted}")
    if snapshot.best:
        table.add_row("best", f"{100 * snapshot.best[1]:.2f} %   genotype {snapshot.best[0]}")
    if snapshot.failed:
        # As Text: rich takes [brackets] in a path or a sentence for markup.
        table.add_row("failed", Text(f"{snapshot.failed}   hpcnas failures --run {shlex.quote(snapshot.run)}"), style="yellow")
    table.add_row("elapsed", duration(snapshot.elapsed_s))
    if snapshot.note:
        table.add_row("", Text(snapshot.note), style="cyan")
    return table
