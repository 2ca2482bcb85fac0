"""Lets the ranks of a full-size training agree, before a step or a batch of the evaluation: go on, save, stop, fail."""

from collections.abc import Callable

from hpcnas.errors import HpcnasError
from hpcnas.training.full_size.distributed import Group

# What a rank asks for; the greatest of all ranks counts. Between MORE and FAILED: 128 + a signal's number.
MORE = 1
FAILED = 256


def agree(group: Group, request: int, stop_code: int, failure: HpcnasError | None) -> int:
    """The greatest of what all ranks ask for; all ranks call it.

    Args:
        request: 0 or MORE.
        stop_code: 0, or 128 + the number of a signal that came to this rank.
        failure: what went wrong on this rank.
    Raises:
        HpcnasError: the failure of the first rank that has one.
    """
    code = group.greatest(FAILED if failure else stop_code or request)
    if code == FAILED:
        group.together(lambda: _raise(failure))
    return code


def attempt(work: Callable[[], object]) -> HpcnasError | None:
    """Do `work`; what went wrong, to be agreed upon."""
    try:
        work()
    except HpcnasError as error:
        return error
    return None


def _raise(failure: HpcnasError | None) -> None:
    if failure is not None:
        raise failure
