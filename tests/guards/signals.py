"""A test that runs a command in its own process gives the signals back to the later ones."""

import signal
from collections.abc import Iterator

import pytest

from hpcnas.cluster.signals import STOP_SIGNALS

SIGNALS = (*STOP_SIGNALS, signal.SIGHUP)


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """The handlers of before; those of a head hold its flag, and with it a pipe."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
