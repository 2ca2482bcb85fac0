"""Wheel and sdist work in an environment of their own, far from the repository."""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.packages.smoke import ROOT, install, packages, try_out

NOT_PACKED = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", "__pycache__", "*.egg-info", "*.so", "build", "dist", "site", "runs"
)

pytestmark = pytest.mark.xdist_group("packages")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with wheel and sdist, built as `make dist` does, from a copy: nothing is left in the repository."""
    clone = tmp_path_factory.mktemp("dist") / "clone"
    shutil.copytree(ROOT, clone, symlinks=True, ignore=NOT_PACKED)
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", str(clone)], check=True, capture_output=True)
    return clone / "dist"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A fresh environment that sees this one's libraries and pip, not its hpcnas: torch need not be copied."""
    folder = tmp_path / "venv"
    venv.create(folder)
    mine = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    theirs = tmp_path / "libraries"
    theirs.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "hpcnas" not in entry.name and not entry.name.endswith(".pth"):
            (theirs / entry.name).symlink_to(entry)
    (mine / "libraries.pth").write_text(f"{theirs}\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_package_runs_a_search_outside_the_repository(kind: str, dist: Path, environment: Path, tmp_path: Path) -> None:
    package = packages(dist)[["wheel", "sdist"].index(kind)]
    outside = tmp_path / "outside"
    outside.mkdir()
    printed = try_out(install(package, environment, "--no-deps", "--no-build-isolation"), outside)
    assert "hpcnas 0.1.0" in printed
    assert "Table 1" in printed
    assert (outside / "run/report.html").is_file()
    assert (outside / "scripts/search.sh").is_file()


def test_the_wheel_holds_the_whole_package_and_nothing_else(dist: Path) -> None:
    """Each tracked kind of file of hpcnas/ is packed, files behind the two links included."""
    wheel, _ = packages(dist)
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.startswith("hpcnas-")}
    kinds = {".py", ".sql", ".sh", ".json", ".j2", ".css", ".js", ".cpp", ".h", ".typed"}
    folders = [ROOT / "hpcnas", ROOT / "hpcnas/sql", ROOT / "hpcnas/jobs"]
    files = {path for folder in folders for path in folder.rglob("*") if path.suffix in kinds}
    assert packed == {str(path.relative_to(ROOT)) for path in files}


def test_the_sdist_has_the_papers_that_a_reader_looks_for(dist: Path) -> None:
    _, sdist = packages(dist)
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "CITATION.cff",
        "constraints.txt",
        "hpcnas/py.typed",
    } <= names
    assert not any(name.startswith(("tests", ".venv", "runs")) or name.endswith(".pyc") for name in names)


def test_the_sdist_holds_all_that_the_site_is_made_of(dist: Path) -> None:
    """Its pages, styles, figures, hooks and settings."""
    _, sdist = packages(dist)
    with tarfile.open(sdist) as archive:
        names = {entry.name.partition("/")[2] for entry in archive.getmembers() if entry.isfile()}
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert files | {"mkdocs.yml"} <= names
