"""The import arrows of docs/design.md: each room sees only what lies below it, inside functions too."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "hpcnas"

# From the bottom to the top. A module imports from its own room and from rows above its own in this list, no others.
TIERS = (
    {"errors", "records"},
    {"option"},
    {"representation", "system"},
    {"config", "run_folder"},
    {"config_file", "presets"},
    {"evolution", "networks"},
    {"cluster", "population", "training"},
    {"api", "benchmarks", "head", "report", "simulation", "worker"},
    {"export"},
    {"command_help"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
TIER = {room: tier for tier, rooms in enumerate(TIERS) for room in rooms}

# Who may see what of a room, where the arrow is thinner than the tier says.
ONLY = {
    ("config", "representation"): {"hpcnas.representation.space"},
}

# Libraries, and the only rooms that import them.
HOMES = {
    "torch": {"networks", "training", "export", "benchmarks"},
    "triton": {"networks"},
    "torchvision": {"training", "benchmarks"},
    "safetensors": {"training", "export"},
    "sqlite3": {"population", "benchmarks"},
    "psycopg": {"population"},
    "filelock": {"system"},
    "tomli_w": {"config_file"},
    "msgspec": {"config", "population", "records"},
    "submitit": {"cluster"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "tabulate": {"report", "benchmarks", "commands"},
    "typer": {"cli", "command_help", "commands"},
}
STDLIB_ONLY = {"errors", "option", "run_folder"}
STDLIB_ONLY |= {"representation", "evolution", "simulation"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a module imports, anywhere in it; names taken from hpcnas itself with their module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            name = node.module or ""
            yield from ((f"hpcnas.{alias.name}" for alias in node.names) if name == "hpcnas" else [name])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            argument = node.args[0]
            if isinstance(argument, ast.Constant):
                yield str(argument.value)


def arrows() -> list[tuple[Path, str]]:
    """(module, what it imports) over the whole package.

    But for its front door, __init__, and `python -m hpcnas.head`, which is the command line's head.
    """
    doors = {PACKAGE / "__init__.py", PACKAGE / "head/__main__.py"}
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if path not in doors]
    return [(path, name) for path in paths for name in imports_of(ast.parse(path.read_text(encoding="utf-8")))]


ARROWS = arrows()


def test_every_room_has_its_tier():
    """A new room is put into the list above, and into docs/design.md."""
    assert {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"} <= set(TIER)


def test_imports_go_down():
    """cli -> commands -> head, worker, report, ... -> cluster | population | training -> networks, evolution -> ..."""
    wrong = []
    for path, name in ARROWS:
        package, _, rest = name.partition(".")
        source, target = room_of(path), rest.partition(".")[0]
        if package == "hpcnas" and target not in ("", "__version__", source) and TIER[target] >= TIER[source]:
            wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_only_commands_import_a_bench():
    """So that what a bench sees, nobody else sees through it."""
    users = {room_of(path) for path, name in ARROWS if name.startswith("hpcnas.benchmarks")}
    assert users <= {"benchmarks", "commands"}


@pytest.mark.parametrize(("source", "target"), ONLY)
def test_some_rooms_see_one_module_of_another(source, target):
    """The configuration has the shape of a space, nothing of its genotypes."""
    seen = {name for path, name in ARROWS if room_of(path) == source and name.startswith(f"hpcnas.{target}")}
    assert seen <= ONLY[source, target]


def test_libraries_stay_in_their_rooms():
    """SQL lives only behind population, Slurm only in cluster, GPUs only in training and networks."""
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path, name in ARROWS
        if room_of(path) not in HOMES.get(name.partition(".")[0], {room_of(path)})
    ]
    assert wrong == []


def test_the_pure_rooms_need_nothing_but_python():
    """What an architecture is and how the search moves can be read, tested and reused alone."""
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path, name in ARROWS
        if room_of(path) in STDLIB_ONLY and name.partition(".")[0] not in {*sys.stdlib_module_names, "hpcnas"}
    ]
    assert wrong == []


def test_the_front_door_loads_nothing():
    """`import hpcnas` comes before every other import, so what it loads every worker loads."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    outside = [node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))]
    names = {name for node in outside for name in imports_of(node)}
    assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("hpcnas.worker.process, hpcnas.training.fitness.synthetic", "torch numpy typer rich submitit matplotlib"),
        ("hpcnas.evolution.breeding, hpcnas.networks.counts, hpcnas.representation.canonical", "torch numpy sqlite3 submitit"),
        ("hpcnas.head.breeder, hpcnas.population.queries", "torch numpy submitit matplotlib"),
    ],
)
def test_what_starts_quickly_does_not_load_heavy_libraries(modules, absent):
    """A worker with synthetic fitness claims at once; of commands, tests/test_startup.py says the same."""
    code = f"import sys, {modules}\nprint(*[name for name in {absent.split()} if name in sys.modules])"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.split() == []


def test_this_guard_sees_imports_wherever_they_stand():
    """In functions, under TYPE_CHECKING, by import_module."""
    text = """
from hpcnas import cli
import hpcnas.head as h
def f():
    from hpcnas.worker import run_worker
    importlib.import_module("hpcnas.report")
if TYPE_CHECKING:
    import torch.nn
"""
    assert set(imports_of(ast.parse(text))) == {"hpcnas.cli", "hpcnas.head", "torch.nn", "hpcnas.worker", "hpcnas.report"}
