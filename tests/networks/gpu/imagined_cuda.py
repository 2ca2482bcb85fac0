"""Stands for torch's streams and CUDA graphs, so that a capture can be watched where there is no GPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch


class ImaginedStream:
    """One that orders nothing."""

    def wait_stream(self, other: "ImaginedStream") -> None:
        """What runs here runs at once."""


class ImaginedCuda:
    """What is captured runs, as it does while torch warms up; a replay calls `replayed`.

    Attributes:
        fault: what a capture ends with, if anything.
        streams: those that were asked for, in their order.
        at: the streams that work goes to at the moment, the innermost last; "capture" stands before the stream of a capture.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.fault: str | None = None
        self.streams: list[ImaginedStream] = []
        self.at: list[Any] = [ImaginedStream()]
        self.replayed: Callable[[], None] = lambda: None
        cuda = self

        class Graph:
            def replay(self) -> None:
                cuda.replayed()

        fakes = {"Stream": self._stream, "current_stream": lambda: self.at[-1], "CUDAGraph": Graph}
        for name, fake in (fakes | {"stream": self._entered, "graph": self._captured}).items():
            patch.setattr(torch.cuda, name, fake)

    def _stream(self) -> ImaginedStream:
        self.streams.append(ImaginedStream())
        return self.streams[-1]

    @contextmanager
    def _entered(self, *streams: Any) -> Iterator[None]:
        self.at += streams
        yield
        del self.at[-len(streams) :]

    @contextmanager
    def _captured(self, _graph: object, stream: ImaginedStream | None = None) -> Iterator[None]:
        with self._entered("capture", stream):
            yield
        if self.fault is not None:
            raise RuntimeError(self.fault)
