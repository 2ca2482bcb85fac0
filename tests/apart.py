"""Processes of tests that begin with torch imported and nothing done: forks of a server that has no threads.

A fork of the test's own process could not train: after some tests torch's autograd has threads there. It could also hang, in a
lock that another thread held.
"""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess

import cloudpickle

PRELOADED = [
    "pytest",
    "hpcnas.cli",
    "hpcnas.commands.final",
    "hpcnas.commands.final_here",
    "hpcnas.head.create",
    "safetensors.torch",
    "sklearn.datasets",
    "torch._dynamo",
    "typer._adapters",
    __name__,
]


def fork_server() -> ForkServerContext:
    """The context of such processes; the server is started with the first of them."""
    context = multiprocessing.get_context("forkserver")  # its server has torch already: a fresh process would take seconds
    context.set_forkserver_preload(PRELOADED)
    return context


def start_apart(work: Callable[[], object]) -> BaseProcess:
    """Start `work`, which may be a closure, in such a process; its patches must be made inside."""
    process = fork_server().Process(target=_do, args=(dict(os.environ), cloudpickle.dumps(work)))
    process.start()
    return process


def _do(environment: dict[str, str], work: bytes) -> None:
    os.environ.clear()  # the server's is that of the first test
    os.environ.update(environment)
    cloudpickle.loads(work)()
