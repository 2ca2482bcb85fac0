"""A TCP proxy between workers and head that delays, cuts, resets or swallows, as the nemesis says."""

import asyncio
import contextlib
import socket
import struct
import threading
from dataclasses import dataclass

CHUNK = 1 << 16


@dataclass
class Weather:
    """How the network is at the moment; every connection looks at it for every chunk."""

    delay_s: float = 0.0
    is_black_hole: bool = False  # bytes are taken and go nowhere, without an error
    is_refusing: bool = False  # new connections are closed at once


class Proxy:
    """Forwards to `target`, which may change while it runs; its loop runs in a thread of its own."""

    def __init__(self) -> None:
        self.weather = Weather()
        self.target: tuple[str, int] | None = None
        self.port = 0
        self._links: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._writers: set[asyncio.StreamWriter] = set()  # of links, and of connections that are to become one
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        self._ready.wait()

    def cut(self, *, reset: bool) -> int:
        """Close every connection, with a reset or in order; how many."""
        links = list(self._links)
        self._loop.call_soon_threadsafe(self._cut, links, reset)
        return len(links)

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._shut(server))

    async def _shut(self, server: asyncio.Server) -> None:
        """Leave no socket open, whatever it was in the middle of."""
        server.close()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            self._abort()
            _, stuck = await asyncio.wait(tasks, timeout=2)
            for task in stuck:
                task.cancel()
        closing = self._abort()
        await asyncio.gather(*(writer.wait_closed() for writer in closing), return_exceptions=True)

    def _abort(self) -> list[asyncio.StreamWriter]:
        for writer in self._writers:
            writer.transport.abort()
        return list(self._writers)

    def _cut(self, links: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]], reset: bool) -> None:
        for writer in (writer for link in links for writer in link):
            if reset:
                raw = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self.weather.is_refusing or self.target is None:
                raise ConnectionError
            onward_reader, onward_writer = await asyncio.open_connection(*self.target)
        except OSError:
            self._done_with(writer)
            return
        self._writers.add(onward_writer)
        link = (writer, onward_writer)
        self._links.add(link)
        try:
            await asyncio.gather(self._pump(reader, onward_writer), self._pump(onward_reader, writer))
        finally:
            self._links.discard(link)
        self._done_with(writer, onward_writer)

    def _done_with(self, *writers: asyncio.StreamWriter) -> None:
        for writer in writers:
            writer.close()
            self._writers.discard(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(CHUNK):
                if self.weather.delay_s:
                    await asyncio.sleep(self.weather.delay_s)
                if not self.weather.is_black_hole:
                    writer.write(chunk)
                    await writer.drain()
        except (OSError, RuntimeError):
            pass  # cut: the other side is closed below
        finally:
            writer.close()
