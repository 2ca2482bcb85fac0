"""A command imports what it uses: the cause of a quick start, whatever the machine does meanwhile."""

import subprocess
import sys
from pathlib import Path

import pytest

from hpcnas.cli import FAMILIES
from hpcnas.run_folder import RunFolder
from tests.processes import head_arguments, hpcnas

HEAVY = "torch torchvision triton numpy matplotlib PIL sklearn jinja2 submitit psycopg rich tabulate safetensors"
CODE = """
import sys
from hpcnas.cli import main
assert main(sys.argv[1:]) == 0
print(*sorted(sys.modules), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run."""
    folder = RunFolder(tmp_path_factory.mktemp("finished") / "run")
    done = hpcnas(*head_arguments(folder, "--workers", "1", "--steps", "2"))
    assert done.returncode == 0, done.stderr
    return folder.path


def imported_by(*arguments: str) -> set[str]:
    """The modules in a process that has run the command."""
    command = [sys.executable, "-c", CODE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def families(modules: set[str]) -> set[str]:
    """The families of commands among the modules."""
    return {family for family in FAMILIES if f"hpcnas.commands.{family}" in modules}


def test_version_imports_no_command_and_no_heavy_library() -> None:
    modules = imported_by("--version")
    assert (families(modules), modules & set(HEAVY.split())) == (set(), set())
    assert not {name for name in modules if name.startswith("hpcnas.") and name.count(".") > 1} - {"hpcnas.system.processes"}


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_status_imports_its_own_family_and_no_heavy_library(finished: Path, more: tuple[str, ...]) -> None:
    modules = imported_by("status", "--run", str(finished), *more)
    assert (families(modules), modules & set(HEAVY.split())) == ({"population"}, set())


def test_help_imports_every_family_and_no_library_that_takes_seconds() -> None:
    modules = imported_by("--help")
    assert families(modules) == set(FAMILIES)
    assert not modules & {"torch", "torchvision", "numpy", "matplotlib", "submitit", "sklearn"}
