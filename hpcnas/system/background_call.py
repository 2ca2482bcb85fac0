"""Questions to a cluster that may hang: asked in a thread of their own, so that the head goes on with its other work."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def ask(question: Callable[[], T]) -> "Future[T]":
    """Start `question`; the future holds its answer, or what it raised, once there is one.

    The thread does not keep the process from ending: what must survive is written down before a cluster is asked.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(question())
        except BaseException as error:  # noqa: BLE001 - nothing is swallowed: taking the answer raises it, in the thread that asked
            answer.set_exception(error)

    threading.Thread(target=run, name="asking", daemon=True).start()
    return answer


def is_answered(answer: "Future[T]", within_s: float) -> bool:
    """Whether the answer, or an error, is there within so many seconds."""
    try:
        answer.exception(within_s)
    except TimeoutError:
        return False
    return True
