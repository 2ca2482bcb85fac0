"""Commands run by a user unknown to the system, as in a container: no $HOME, and no entry in passwd."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UID = 4242
_NOBODY = "import pwd\npwd.getpwuid = {}.__getitem__\n"


class Stranger:
    """That user; root becomes one, anybody else is made to look like one.

    Attributes:
        folder: owned by that user; nothing else is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before: list[str] = []
        self._variables = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        if os.geteuid() == 0:
            os.chown(folder, UID, UID)
            self._before = ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups"]
            # Python itself may lie in a folder of root's, which this user must pass; nothing more can be written by it.
            self._before += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
        else:
            (folder / "passwd").mkdir()
            (folder / "passwd/sitecustomize.py").write_text(_NOBODY)
            self._variables["PYTHONPATH"] = f"{folder / 'passwd'}:{self._variables['PYTHONPATH']}"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`hpcnas` with these arguments, in the stranger's folder."""
        left_out = ("HPCNAS_", "SLURM", "COV_", "XDG_", "HOME", "MPLCONFIGDIR", "PYTHONPATH")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        command = [*self._before, sys.executable, "-m", "hpcnas", *arguments]
        environment |= self._variables
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )


@contextmanager
def stranger() -> Iterator[Stranger]:
    """One with a folder, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="hpcnas-stranger-") as folder:
        yield Stranger(Path(folder))
