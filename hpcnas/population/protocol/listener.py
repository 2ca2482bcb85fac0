"""The service's open port: who comes in, and what happens when this machine has no room for another connection."""

import errno
import logging
import resource
import selectors
import socket
import time

from hpcnas.system.network import listen

log = logging.getLogger(__name__)

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_EXHAUSTED_EVERY_S = 60.0  # how often the log says so
_SPARE_FILES = 256  # beside one per connection


class Listener:
    """Accepts connections; for a while nobody, when files or memory run out.

    Attributes:
        socket: where it listens.
        closed_until: while nobody is accepted, until when, in monotonic seconds; else None.
    """

    def __init__(self, selector: selectors.BaseSelector, host: str, port: int, *, connections: int, pause_s: float) -> None:
        """Listen.

        Args:
            selector: reports when a connection waits.
            host: interface to listen on; "" for all.
            port: 0 for any free one.
            connections: for how many the limit of open files is raised, where the system allows it.
            pause_s: how long nobody is accepted when there is no room.
        """
        _allow_files(connections + _SPARE_FILES)
        self.socket = listen(host, port)
        self.closed_until: float | None = None
        self._selector, self._pause_s, self._next_complaint = selector, pause_s, 0.0
        self.listen_again()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.socket.getsockname()[1])

    def accept(self) -> socket.socket | None:
        """The connection that waits; None if it is gone again, or there is no room for it."""
        try:
            return self.socket.accept()[0]
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._back_off(error)
            return None

    def listen_again(self) -> None:
        """Accept from now on."""
        self.closed_until = None
        self._selector.register(self.socket, selectors.EVENT_READ)

    def _back_off(self, error: OSError) -> None:
        """Accept nobody for a while: who waits stays readable, and would be looked at without pause."""
        self._selector.unregister(self.socket)
        now = time.monotonic()
        self.closed_until = now + self._pause_s
        if now >= self._next_complaint:
            self._next_complaint = now + _EXHAUSTED_EVERY_S
            connected = len(self._selector.get_map() or ()) - 1  # but for the service's own wake-up
            log.error(
                "no further worker can connect (%s) beside %d connections; raise the limit of open files, ulimit -n",
                error.strerror,
                connected,
            )


def _allow_files(count: int) -> None:
    """Raise the soft limit of open files to `count`, or as far as the hard one allows: many sites set it to 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
