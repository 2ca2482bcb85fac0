"""submitit writes the batch scripts: its releases within the pin are taken, the newest of all is looked at every night."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[3]


def test_the_pin_ends_below_the_next_minor_version_of_what_is_tested() -> None:
    [wanted] = re.findall(r'"(submitit[^"]*)"', (ROOT / "setup.py").read_text(encoding="utf-8"))
    [tested] = re.findall(r"^submitit==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    allowed, version = Requirement(wanted).specifier, Version(tested)
    assert version in allowed
    assert f"{version.major}.{version.minor}.999" in allowed
    assert f"{version.major}.{version.minor + 1}" not in allowed


@pytest.mark.nightly
def test_the_newest_submitit_writes_the_known_scripts(tmp_path: Path) -> None:
    """If it does not, the pin holds; see what changed before it is raised. It needs the package registry."""
    newest = tmp_path / "newest"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(newest)]
    subprocess.run([*pip, "submitit"], check=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(newest), os.environ.get("PYTHONPATH"))))}
    where = [sys.executable, "-c", "import submitit; print(submitit.__file__)"]
    loaded = subprocess.run(where, env=environment, capture_output=True, text=True, check=True)
    assert Path(loaded.stdout.strip()).is_relative_to(newest)
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "is_the_known_one"]
    golden = Path(__file__).with_name("test_submission.py")
    done = subprocess.run([*tests, golden], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout
