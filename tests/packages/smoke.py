"""Installs wheel and sdist, each in a fresh environment, and runs a search there: `python -m tests.packages.smoke dist`."""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
SEARCH = ("--preset", "smoke", "--cluster", "local", "--fitness", "synthetic", "--run", "run")
# What is no Python module must be in the package too.
CONTENTS = """
import importlib.resources
root = importlib.resources.files("hpcnas")
for name in ("py.typed", "sql/sqlite/schema.sql", "sql/postgres/queries.sql", "jobs/search.sh", "jobs/env.sh",
             "report/page_assets/page.html.j2", "networks/cpu/engine.cpp", "benchmarks/genotypes.json"):
    assert root.joinpath(name).is_file(), name
"""


def packages(folder: Path) -> list[Path]:
    """The wheel and the sdist in the folder.

    Raises:
        FileNotFoundError: there is not exactly one of each.
    """
    found = [sorted(folder.glob(pattern)) for pattern in ("hpcnas-*.whl", "hpcnas-*.tar.gz")]
    if [len(paths) for paths in found] != [1, 1]:
        raise FileNotFoundError(f"{folder} must hold one wheel and one sdist, not {found}")
    return [path for paths in found for path in paths]


def install(package: Path, folder: Path, *pip_options: str) -> Path:
    """Make an environment in the folder, install the package there, return the environment's bin.

    Args:
        pip_options: further ones, such as --no-deps.
    """
    if not folder.exists():
        venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, *pip_options, str(package)], check=True)
    return folder / "bin"


def try_out(programs: Path, outside: Path) -> str:
    """Run a search and its reports with the installed program; return what was printed.

    Args:
        programs: bin of the environment.
        outside: an empty folder, from which no clone is in sight.
    Raises:
        CalledProcessError: a command failed; its output is printed.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HPCNAS_", "SLURM_", "PYTHON"))}
    environment |= {"OMP_NUM_THREADS": "1", "PATH": f"{programs}:{os.environ['PATH']}"}
    hpcnas = str(programs / "hpcnas")
    printed = []
    for command in (
        [str(programs / "python"), "-c", CONTENTS],
        [hpcnas, "--version"],
        [hpcnas, "head", *SEARCH],
        [hpcnas, "report", "--run", "run"],
        [hpcnas, "report", "--run", "run", "--format", "html"],
        [hpcnas, "jobs", "--out", "scripts"],
    ):
        done = subprocess.run(command, cwd=outside, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        printed.append(done.stdout)
        if done.returncode != 0:
            print(done.stdout)
            done.check_returncode()
    return "".join(printed)


def main(folder: Path) -> None:
    """Install each package with its dependencies, as constraints.txt pins them, and try it out."""
    for package in packages(folder):
        with tempfile.TemporaryDirectory(prefix="hpcnas-dist-") as scratch:
            outside = Path(scratch) / "outside"
            outside.mkdir()
            print(f"trying {package.name} in a fresh environment ...", flush=True)
            programs = install(
                Path(f"{package.resolve()}[page]"), Path(scratch) / "venv", "--constraint", str(ROOT / "constraints.txt")
            )
            try_out(programs, outside)
    print(f"both work: {', '.join(str(package) for package in packages(folder))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
