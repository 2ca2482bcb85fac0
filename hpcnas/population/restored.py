"""The outcome of a restore, whichever store it rebuilt."""

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Restored:
    """The outcome of a restore.

    Attributes:
        population: what was rebuilt.
        start: what it was rebuilt from: the backup it began with, and the journal where there is one.
        outbox: messages merged from the outbox.
        evaluated, born: individuals that are there now.
        kept: where the old files are now.
        problems: what could not be restored, or does not fit together; empty when nothing is missing.
    """

    population: Path
    start: str
    outbox: int
    evaluated: int
    born: int
    kept: list[Path]
    problems: list[str]


def keep_aside(paths: list[Path]) -> list[Path]:
    """Give what is there of the damaged files another name; the new names."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    kept = []
    for path in paths:
        if path.exists():
            aside = path.with_name(f"{path.name}.damaged-{stamp}")
            os.replace(path, aside)
            kept.append(aside)
    return kept
