"""Four walks through the code, counted while it runs: how many files must one read to follow one thing?

`python -m tests.walks` prints the table of docs/design.md. Nothing here names a module. Parts are found by the name of
their class or function, so the same walks can be counted before and after files move.
"""

import ast
import dataclasses
import importlib
import secrets
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import hpcnas

PACKAGE = Path(hpcnas.__file__).parent
OPTION = "tournament"


@dataclasses.dataclass(frozen=True)
class Walk:
    """What was counted: a figure of each name, and the files that were entered or found."""

    name: str
    figures: dict[str, int]
    files: list[str]


def claim_and_answer() -> Walk:
    """A worker's claim, the head's service, the lease of a queued genotype: over a real socket and a real SQLite file."""
    with tempfile.TemporaryDirectory() as path, _Recorder().installed() as recorder, _served(Path(path)) as queue:
        queue.join(part("WorkerInfo")("w", "host", 1))
        queue.claim("w", "first")  # connections are made and queries are read once
        with recorder.on():
            queue.claim("w", "second")
    figures = {"files": len(recorder.files), "moves between files": len(recorder.steps)}
    return Walk("claim and answer", figures, recorder.files)


def genotype_to_fitness() -> Walk:
    """From a lease's genotype through one real training on the digits to the recorded fitness."""
    with tempfile.TemporaryDirectory() as path, _Recorder().installed() as recorder, _served(Path(path)) as queue:
        queue.join(part("WorkerInfo")("w", "host", 1))
        lease = queue.claim("w", "first").lease
        evaluator = part("load_evaluator")(_config().recipe)
        genotype, seeds = part("genotype_from_json")(lease.genotype), {0: 1}
        with recorder.on():
            for fitness in evaluator.evaluate(genotype, seeds, progress=lambda share: None):
                queue.record(lease.individual_id, lease.token, fitness)
    return Walk("genotype to recorded fitness", {"files": len(recorder.files)}, recorder.files)


def one_option() -> Walk:
    """Where --tournament is written down (a field, a parameter, a flag or its name in a table), and who reads it."""
    written, read = [], set()
    for path, tree in _sources().items():
        for node in _without_presets(tree):
            if isinstance(node, ast.Attribute) and node.attr == OPTION and isinstance(node.ctx, ast.Load):
                read.add(path)
            if _writes_option(node):
                written.append(f"{path}:{getattr(node, 'lineno', 0)}")
    return Walk("one option of the head", {"written in places": len(written), "read in files": len(read)}, written)


def full_size_result() -> Walk:
    """The record types with an error of their own through which a full-size result reaches a table."""
    shapes = []
    for path, tree in _sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                names = {
                    item.target.id
                    for item in node.body
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                }
                if names & {"error_top1", "top1"}:
                    shapes.append(f"{path}: {node.name}")
            if isinstance(node, ast.Dict) and any(
                isinstance(key, ast.Constant) and key.value in ("error_top1", "top1") for key in node.keys
            ):
                shapes.append(f"{path}: a dict in line {node.lineno}")
            if isinstance(node, ast.Call) and any(word.arg == "error_top1" for word in node.keywords):
                shapes.append(f"{path}: a copy in line {node.lineno}")
    return Walk("full-size result to a table", {"shapes": len(shapes)}, shapes)


WALKS: tuple[Callable[[], Walk], ...] = (claim_and_answer, genotype_to_fitness, one_option, full_size_result)


def part(name: str) -> Any:
    """The class or function of that name, wherever in the package it is defined at the top of a module."""
    for path, tree in _sources().items():
        if any(isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name for node in tree.body):
            module = "hpcnas." + path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            return getattr(importlib.import_module(module), name)
    raise LookupError(f"hpcnas defines no {name}")


@cache
def _sources() -> dict[str, ast.Module]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def _without_presets(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes but those of PRESETS, whose entries give a value to an option as a user's file does."""
    for statement in tree.body:
        if not (isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "PRESETS"):
            yield from ast.walk(statement)


def _writes_option(node: ast.AST) -> bool:
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.target.id == OPTION
    if isinstance(node, ast.arg):
        return node.arg == OPTION
    return isinstance(node, ast.Constant) and node.value in (OPTION, f"--{OPTION}")


def _config() -> Any:
    recipe = {"dataset": "digits", "train_steps": 2, "batch": 8, "repeats": 1, "channels": 2}
    return part("RunConfig").from_dict({"search": {"steps": 8, "population": 8}, "recipe": recipe})


@contextmanager
def _served(path: Path) -> Iterator[Any]:
    """A worker's queue to a head's service over loopback, with two genotypes queued."""
    folder, config = part("RunFolder")(path / "run"), _config()
    folder.path.mkdir()
    folder.config.write_text(part("config_toml")(config), encoding="utf-8")
    folder.secret.write_text(secrets.token_hex(32), encoding="ascii")
    folder.secret.chmod(0o600)
    part("create_store")(folder, config)
    store = part("open_store")(folder, config)
    breed = part("Breeder")(store, config).breed
    service = part("Service")(store, part("read_secret")(folder), breed)
    service.start()
    service.publish(folder, store.begin_epoch())
    breed()
    breed()
    queue = part("open_queue")(folder, config)
    yield queue
    queue.close()
    service.stop()
    store.close()


class _Recorder:
    """Notes the files of the package that any thread enters while it is on; threads must start after it."""

    def __init__(self) -> None:
        self.steps: list[str] = []  # one for each move from file to file
        self._last: dict[int, str] = {}
        self._is_on = False

    @contextmanager
    def installed(self) -> Iterator["_Recorder"]:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            yield self
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    @contextmanager
    def on(self) -> Iterator[None]:
        self._is_on = True
        yield
        self._is_on = False

    @property
    def files(self) -> list[str]:
        return sorted(set(self.steps))

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        file, thread = frame.f_code.co_filename, threading.get_ident()
        if self._is_on and event == "call" and file.startswith(str(PACKAGE)) and self._last.get(thread) != file:
            self._last[thread] = file
            self.steps.append(str(Path(file).relative_to(PACKAGE)))


def main() -> None:
    """Print the four walks."""
    for walk in WALKS:
        found = walk()
        print(f"{found.name}: " + ", ".join(f"{count} {name}" for name, count in found.figures.items()))
        for file in found.files:
            print(f"    {file}")


if __name__ == "__main__":
    main()
