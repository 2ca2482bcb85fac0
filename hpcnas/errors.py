"""Everything hpcnas raises for a person to read: one sentence, one exit code each.

The message of every error names the bad value, what is allowed and what to do.
The command line prints it as one line and leaves with `exit_code`; a traceback
appears only with `--debug`.
"""

import math
import signal
from collections.abc import Iterable


class HpcnasError(Exception):
    """The work could not be done (exit code 1)."""

    exit_code = 1


class UsageError(HpcnasError):
    """A wrong option, configuration, genotype or data set (exit code 2)."""

    exit_code = 2


class GenotypeError(UsageError):
    """A genotype that cannot be read, is malformed or has an unreachable sink."""


class DataError(UsageError):
    """A data set that is missing, damaged or laid out differently."""


class RunHeldError(HpcnasError):
    """Another head holds the run (exit code 3)."""

    exit_code = 3


class ClusterError(HpcnasError):
    """The cluster refused, or is not there (exit code 4)."""

    exit_code = 4


class DamagedRunError(HpcnasError):
    """The run folder is damaged, or belongs to a newer hpcnas (exit code 5)."""

    exit_code = 5


class UnfitHostError(HpcnasError):
    """This machine cannot do what it was given for; another one may."""


class NeverJoined(HpcnasError):
    """The claiming worker is not in the population: it joins, then claims again."""


class TrainingDiverged(HpcnasError):
    """The training loss is not finite any more; trainings with other seeds may go on."""


class StoreUnavailable(HpcnasError):
    """Neither the head nor the database can be reached at the moment; try again later."""


class StoppedBySignal(HpcnasError):
    """A signal ended the work, which the same command goes on with. The exit code is 128 + the signal's number."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    @classmethod
    def by(cls, code: int, what: str) -> "StoppedBySignal":
        """By the signal of exit code `code`; `what` as in "the training at step 3 of 5"."""
        return cls(f"{signal.Signals(code - 128).name} stopped {what}; the same command goes on there", code)


def check_one_of(option: str, value: str, allowed: Iterable[str]) -> None:
    """Refuse a word that is not among the allowed ones.

    Raises:
        UsageError: it names the value and all that are allowed.
    """
    words = tuple(allowed)
    if value not in words:
        raise UsageError(f"{option} {value} is unknown; choose one of {', '.join(words)}")


def check_at_least(option: str, value: int, least: int) -> None:
    """Refuse a number below the least allowed one.

    Raises:
        UsageError: it names both.
    """
    if value < least:
        raise UsageError(f"{option} {value} must be at least {least}")


def check_number(
    option: str,
    value: float,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> None:
    """Refuse a number that is not finite or outside its bounds; `above` and `below` are bounds that it must not equal.

    Raises:
        UsageError: it names the value and the bounds.
    """
    bounds = {"at least": least, "above": above, "at most": most, "below": below}
    broken = (
        not math.isfinite(value)
        or (least is not None and value < least)
        or (above is not None and value <= above)
        or (most is not None and value > most)
        or (below is not None and value >= below)
    )
    if broken:
        allowed = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
        raise UsageError(f"{option} {value:g} must be a finite number {allowed}".rstrip())
