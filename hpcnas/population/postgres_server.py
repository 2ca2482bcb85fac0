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
import socket
import stat
from pathlib import Path
from urllib.parse import quote

from hpcnas.errors import DamagedRunError, HpcnasError, StoreUnavailable, UsageError
from hpcnas.population import seam
from hpcnas.population.postgres_programs import run_owner
from hpcnas.run_folder import RunFolder

USER, DATABASE = "hpcnas", "postgres"
_START_S, _STOP_S = 60, 60

# What of its log a server that does not start dies of; not what it tells clients that come too early.
_DEADLY = ("FATAL:", "PANIC:", "postgres: could not")
_TO_CLIENTS = ("starting up", "shutting down", "not yet accepting", "authentication")
# A reason that passes, or that a person can put right: no word about the data.
_PASSING = ("No space left", "allocate memory", "Too many open files", "in use", "ermission", "Read-only", "already exists",
            "shared memory", "semaphores", "TCP/IP sockets")  # fmt: skip


class PostgresServer:
    """The run's own server. `start` it, give `address` to a store, `stop` it."""

    def __init__(self, folder: RunFolder, data: str = "data", *, hidden: bool = False) -> None:
        """Names paths only.

        Args:
            data: name of its data folder in RUN/postgres.
            hidden: workers do not hear where it listens.
        """
        self.folder = folder.path / "postgres"
        self.data, self.log = self.folder / data, self.folder / "log"
        self._run, self._hidden, self._port = folder.path, hidden, 0
        self._machine_file = self.folder / "machine"
        self._address_file, self._password_file = self.folder / "address", self.folder / "password"

    def start(self) -> None:
        """Make sure that it runs; makes its data when there are none. A server that runs already is taken over.

        Raises:
            UsageError: the package with PostgreSQL is not installed.
            DamagedRunError: its data are damaged.
            StoreUnavailable: it does not start for another reason; says which.
        """
        self.claim_machine()
        if self.is_running():
            return
        try:
            self._launch()
        except BaseException:
            self._give_machine_up()
            raise

    def _launch(self) -> None:
        if not self.data.exists():
            self._initialise()
        if not (self.data / "PG_VERSION").exists():
            raise self.damaged("it has no PG_VERSION")
        lines: list[str] = []
        for _ in range(3):  # a free port may be taken before the server has it
            port = self._free_port()
            size = self._log_size()
            if self._pg_ctl("start", "-w", "-t", str(_START_S), "-l", str(self.log), "-o", self._options(port)) == 0:
                self._publish(port)
                return
            lines = self._log_since(size)
            if not any("in use" in line for line in lines):
                break
        raise self._explained(lines)

    def address(self) -> str:
        """The connection string of the server that this instance started; holds its password."""
        return _connection_string("127.0.0.1", self._port, self._password_file.read_text(encoding="ascii").strip())

    def stop(self, *, immediate: bool = False) -> None:
        """Stop it; connections are ended, what was committed is there.

        Args:
            immediate: as a crash would, for tests.
        """
        if self.is_running():
            self._pg_ctl("stop", "-w", "-t", str(_STOP_S), "-m", "immediate" if immediate else "fast")
        if not immediate:
            self._give_machine_up()

    def damaged(self, why: str) -> DamagedRunError:
        """The error for data that cannot be used, with the way out; a hidden server is on that way already."""
        way_out = f"; it was left as it is: `hpcnas restore --run {self._run}` rebuilds the population from its newest backup"
        return DamagedRunError(f"{self.data} is damaged ({why}){'' if self._hidden else way_out}")

    def is_claimed(self) -> bool:
        """Whether it runs on some machine, or was killed there."""
        return self._machine_file.exists()

    def was_started(self) -> bool:
        """Whether it ever ran: then there were data."""
        return self._address_file.exists()

    def is_running(self) -> bool:
        """Whether the server of these data runs on this machine."""
        return (self.data / "postmaster.pid").exists() and self._pg_ctl("status") == 0

    def claim_machine(self) -> None:
        """See that no other machine has the server: PostgreSQL's own lock knows process ids only.

        Raises:
            StoreUnavailable: another one has it.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
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

    def _give_machine_up(self) -> None:
        if not self.is_running():
            self._machine_file.unlink(missing_ok=True)

    def _initialise(self) -> None:
        unfinished = self.folder / "data.new"
        if unfinished.exists():
            shutil.rmtree(unfinished)  # of a head that was killed here: no server ever ran on it
        if not self._password_file.exists() or not self._password_file.stat().st_size:
            _write_private(self._password_file, secrets.token_hex(32) + "\n")  # data that take others' place keep theirs
        answer = run_owner(
            "initdb",
            *("-D", str(unfinished), "-U", USER, f"--pwfile={self._password_file}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C", "--no-instructions", "--data-checksums"),
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

    def _options(self, port: int) -> str:
        # No socket in the file system: its path may be too long, and the folder shared by machines.
        listen = "127.0.0.1" if self._hidden else "*"
        return f"-p {port} -h '{listen}' -k '' -c log_connections=off -c log_statement=none"

    def _publish(self, port: int) -> None:
        self._port = port
        if self._hidden:
            return
        password = self._password_file.read_text(encoding="ascii").strip()
        _write_private(
            self._address_file, json.dumps({"host": socket.gethostname(), "port": port, "password": password}) + "\n"
        )

    def _pg_ctl(self, command: str, *options: str) -> int:
        return run_owner("pg_ctl", command, "-D", str(self.data), *options).returncode

    def _log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def _log_since(self, size: int) -> list[str]:
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(size)
            return file.read().decode("utf-8", errors="replace").strip().splitlines()
        return []

    def _explained(self, lines: list[str]) -> HpcnasError:
        """Why it does not start, by the new lines of its log."""
        deadly = [line for line in lines if any(s in line for s in _DEADLY) and not any(s in line for s in _TO_CLIENTS)]
        why = (deadly or lines or ["no reason given"])[-1]
        if deadly and not any(sign in why for sign in _PASSING):
            return self.damaged(why)
        return StoreUnavailable(f"the private PostgreSQL does not start: {why} ({self.log})")


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
    return _connection_string(hosts[0], values["port"], str(values["password"]))


def _connection_string(host: str, port: object, password: str) -> str:
    return f"postgresql://{USER}:{quote(password)}@{host}:{port}/{DATABASE}"


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


def _write_private(path: Path, text: str) -> None:
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        seam.fsync(descriptor)
    seam.rename(unfinished, path)
