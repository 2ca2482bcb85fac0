"""The head's TCP service: workers' messages to the one owner of the database, in turn.

One thread reads at most one message of every connection and handles all of them in one durable transaction.
It answers only after the commit. So the service is fair: no worker is served twice while another waits. Its rate
does not depend on the disk's, since 200 messages share one flush.
"""

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from hpcnas.errors import DamagedRunError, HpcnasError, RunHeldError, StoreUnavailable
from hpcnas.population.protocol.address import HeadAddress, remove_address, this_address, write_address
from hpcnas.population.protocol.connection import Connection, Limits
from hpcnas.population.protocol.listener import Listener
from hpcnas.population.protocol.messages import ClaimMessage, Message, encode_answer, encode_error
from hpcnas.population.store import Store
from hpcnas.records import Claim, Verdict
from hpcnas.run_folder import RunFolder

log = logging.getLogger(__name__)

_MAX_BREEDINGS = 100  # for one claim: with duplicates=reuse a child may be evaluated at once


@dataclass(slots=True)
class _Answer:
    connection: Connection
    payload: bytes


class Service:
    """Serves one store to workers.

    Attributes:
        error: what ended the service by itself (the run was taken over or damaged); None while it is well.
    """

    def __init__(
        self,
        store: Store,
        secret: bytes,
        on_claim_empty: Callable[[], bool] = lambda: False,
        *,
        host: str = "",
        port: int = 0,
        limits: Limits | None = None,
    ) -> None:
        """Listen; answers begin with `start`.

        Args:
            on_claim_empty: called in the service's thread, inside the transaction of the claim, when nothing is
                queued; breeds with store.add and returns whether it did. If that transaction fails, its offspring
                are taken back, so its own state must follow from the store.
            host: interface to listen on; "" for all.
            port: 0 for any free one.
        """
        self.error: HpcnasError | None = None
        self._store, self._secret, self._on_claim_empty = store, secret, on_claim_empty
        self._limits = limits = limits or Limits()
        self._connections: dict[int, Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = Listener(self._selector, host, port, connections=limits.connections, pause_s=limits.sweep_s)
        self._wake_up, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._stopping, self._next_sweep = False, 0.0
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._listener.port

    def cpu_s(self) -> float:
        """Processor time that the service's thread has taken."""
        return time.clock_gettime(time.pthread_getcpuclockid(self._thread.ident or 0))

    def start(self) -> None:
        """Begin to answer, in a thread of its own."""
        self._thread.start()

    def publish(self, folder: RunFolder, epoch: int, named: str = "") -> HeadAddress:
        """Write head.json; `named` is the address that workers are to try first, "" for the machine's name."""
        address = this_address(self.port, epoch, named)
        write_address(folder, address)
        return address

    def withdraw(self, folder: RunFolder, address: HeadAddress) -> None:
        """Take head.json away, unless another head has written its own."""
        remove_address(folder, address)

    def stop(self) -> None:
        """Answer what has arrived, close every connection, end the thread. Safe to call twice."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._wake_up.send(b"x")
        if self._thread.is_alive():
            self._thread.join()
        else:
            self._close()

    def _run(self) -> None:
        try:
            while not self._stopping and self.error is None:
                self._turn()
        except Exception:
            log.exception("the service has ended by a bug; workers keep their results until it is back")
            self.error = HpcnasError("the service has ended by a bug; its traceback is in the head's log")
        finally:
            self._close()

    def _turn(self) -> None:
        for key, _ in self._selector.select(timeout=self._limits.sweep_s):
            if key.fileobj is self._listener.socket:
                self._accept()
            elif key.fileobj is self._woken:
                self._woken.recv(64)
            else:
                self._exchange(key.data)
        ready = [connection for connection in self._connections.values() if connection.message is not None]
        if ready:
            # Who is answered first asks again first: always in the same order, some workers would be served twice as often.
            self._serve(sorted(ready, key=lambda connection: connection.answered))
        self._sweep()

    def _serve(self, ready: list[Connection]) -> None:
        try:
            with self._store.batch():
                answers = [_Answer(connection, self._handle(connection.take_message())) for connection in ready]
        except HpcnasError as error:
            # Nothing of the turn was made durable, so every answer is the error.
            answers = [_Answer(connection, encode_error(error)) for connection in ready]
            self._consider(error)
        for answer in answers:
            answer.connection.answer(answer.payload)
            self._flush(answer.connection)

    def _handle(self, message: Message) -> bytes:
        try:
            if isinstance(message, ClaimMessage):
                return encode_answer(self._claim(message))
            return encode_answer(message.send_to(self._store))
        # Past the answer to this one message: nothing of the turn may be committed by a head that was overtaken.
        except RunHeldError:
            raise
        except (HpcnasError, ValueError) as error:
            self._consider(error)
            return encode_error(error)
        except Exception:
            log.exception("a %s could not be handled", message.method)
            return encode_error(HpcnasError(f"the head could not handle a {message.method}; its log says why"))

    def _claim(self, message: ClaimMessage) -> Claim:
        claim = message.send_to(self._store)
        for _ in range(_MAX_BREEDINGS):
            if claim.verdict is not Verdict.WAIT or not self._breed():
                break
            claim = message.send_to(self._store)
        return claim

    def _breed(self) -> bool:
        try:
            return self._on_claim_empty()
        except (StoreUnavailable, DamagedRunError, RunHeldError):
            raise  # of the population, not of breeding
        except HpcnasError as error:
            self.error = error  # no worker can do anything about it
            raise
        except Exception as error:
            self.error = HpcnasError(f"breeding failed by a bug: {error!r}; its traceback is in the head's log")
            raise

    def _consider(self, error: Exception) -> None:
        if isinstance(error, RunHeldError):
            self.error = error
        elif isinstance(error, (DamagedRunError, StoreUnavailable)):
            log.error("%s", error)

    def _accept(self) -> None:
        accepted = self._listener.accept()
        if accepted is None:
            return
        with contextlib.suppress(OSError):  # gone again
            self._make_room()
            connection = Connection(accepted, self._secret, self._limits, time.monotonic())
            self._connections[accepted.fileno()] = connection
            self._selector.register(accepted, selectors.EVENT_READ, connection)
            self._flush(connection)

    def _make_room(self) -> None:
        """Strangers cannot crowd out workers: the oldest unproved connection goes first."""
        unproved = [connection for connection in self._connections.values() if not connection.is_proved]
        if len(unproved) >= self._limits.unproved:
            self._drop(unproved[0])
        if len(self._connections) >= self._limits.connections:
            self._drop(min(self._connections.values(), key=lambda connection: (connection.is_proved, connection.received_s)))

    def _exchange(self, connection: Connection) -> None:
        if connection.closed or not connection.receive(time.monotonic()):
            self._drop(connection)
        else:
            self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        if connection.closed:
            return
        if not connection.flush():
            self._drop(connection)
            return
        events = selectors.EVENT_WRITE if connection.outgoing else selectors.EVENT_READ
        if self._selector.get_key(connection.socket).events != events:
            self._selector.modify(connection.socket, events, connection)

    def _sweep(self) -> None:
        now = time.monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now + self._limits.sweep_s
        if self._listener.closed_until is not None and now >= self._listener.closed_until:
            self._listener.listen_again()
        for connection in [connection for connection in self._connections.values() if connection.is_overdue(now)]:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        if connection.closed:
            return
        self._connections.pop(connection.socket.fileno(), None)
        self._selector.unregister(connection.socket)
        connection.close()

    def _close(self) -> None:
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._selector.close()
        for end in (self._listener.socket, self._wake_up, self._woken):
            end.close()
