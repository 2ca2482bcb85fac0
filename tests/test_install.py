"""The installed package is found from every folder, also from one that holds a clone called hpcnas."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=["elsewhere", "parent of the clone", "inside the clone", "inside the package"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A working folder; the clone is called hpcnas, as `git clone` calls it."""
    (tmp_path / "hpcnas").symlink_to(ROOT)
    inside = tmp_path / "hpcnas"
    folders = {
        "elsewhere": "/",
        "parent of the clone": tmp_path,
        "inside the clone": inside,
        "inside the package": inside / "hpcnas",
    }
    return Path(folders[request.param])


@pytest.mark.parametrize("module", ["hpcnas", "hpcnas.head", "hpcnas.worker"])
def test_python_m_finds_the_package_from_every_folder(place: Path, module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=place, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage" in done.stdout.lower()


def test_the_package_its_queries_and_its_jobs_are_imported_whole(place: Path) -> None:
    code = "import hpcnas, hpcnas.sql, hpcnas.jobs; print(hpcnas.__version__, *hpcnas.sql.__path__, *hpcnas.jobs.__path__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [(Path(path) / "__init__.py").is_file() for path in done.stdout.split()[1:]] == [True, True]
