"""A real Slurm cluster on this one machine, for the tests alone.

It has munge, slurmctld and any number of slurmds with pretended GPUs (character devices). On request it has
slurmdbd and MariaDB for accounting. All are Debian's packages, with their own folder, keys, sockets and ports.
So neither a service manager nor a cluster that this machine belongs to is touched.
"""

import contextlib
import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.slurm.layout import Layout

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo", "munged")
ACCOUNTING_PROGRAMS = ("slurmdbd", "sacctmgr", "sacct", "mariadbd", "mariadb", "mariadb-install-db")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_S = 90.0


def missing(accounting: bool = False) -> str:
    """Why no cluster can be started here; "" when one can."""
    wanted = PROGRAMS + (ACCOUNTING_PROGRAMS if accounting else ())
    absent = [program for program in wanted if shutil.which(program, path=SYSTEM_PATH) is None]
    if absent:
        return f"no {', '.join(absent)}: install slurmctld slurmd slurm-client slurmdbd munge mariadb-server"
    if os.geteuid() != 0 or not _may_make_devices():
        return "Slurm's daemons and the pretended GPUs need root and the right to make device files"
    return ""


def _may_make_devices() -> bool:
    with tempfile.TemporaryDirectory(prefix="hpcnas-slurm-") as place:
        try:
            os.mknod(f"{place}/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            return False
    return True


@dataclass
class Cluster(Layout):
    """One cluster: `start`, use `environment` for everything that is to see it, `stop`."""

    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment without any other cluster's variables, and with this one's configuration."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SQUEUE", "SINFO"))
        }
        return {**kept, "SLURM_CONF": str(self.folder / "etc/slurm.conf"), "PATH": f"{kept['PATH']}:{SYSTEM_PATH}"}

    def start(self) -> "Cluster":
        """Start all daemons and wait until every node is idle; stop again when that fails."""
        try:
            self.configure()
            self._start_munge()
            if self.accounting:
                self._start_accounting()
            self.start_controller()
            for name in self.node_names:
                self._spawn(name, "slurmd", "-D", "-N", name)
            self.wait_until(lambda: self._idle() == self.nodes, "all nodes are idle")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End every job, daemon and left-over process of this cluster, then delete its folder."""
        if "controller" in self.daemons and self.daemons["controller"].poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(["scancel", "--user=root"], env=self.environment, timeout=20, capture_output=True, check=False)
        for name in reversed(list(self.daemons)):
            self.end_daemon(name)
        self._sweep()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_controller(self) -> None:
        """Start slurmctld, also again after `end_daemon("controller")`: it finds its state on the disk."""
        self._spawn("controller", "slurmctld", "-D")
        self.wait_until(lambda: self.run("scontrol", "ping", check=False).returncode == 0, "slurmctld answers")

    def end_daemon(self, name: str, number: int = signal.SIGTERM) -> None:
        """End one daemon, by force after 10 s."""
        process = self.daemons.pop(name)
        if process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def run(self, *command: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command of Slurm's against this cluster."""
        return subprocess.run(command, env=self.environment, text=True, capture_output=True, timeout=timeout, check=check)

    def squeue(self, *options: str, form: str = "%i %T") -> list[str]:
        """Lines of squeue, array tasks expanded."""
        return self.run("squeue", "--noheader", "--array", f"--format={form}", *options).stdout.splitlines()

    def wait_until(self, condition, what: str, seconds: float = START_S) -> None:  # type: ignore[no-untyped-def]
        """Look again until it is so: Slurm sends no notice."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds:g} s: {what}\n{self._log_tail()}")
            time.sleep(0.1)

    def _start_munge(self) -> None:
        here = self.folder / "munge"
        here.chmod(0o755)
        key = here / "key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(128))
        files = [
            f"--{name}={here}/{name.split('-')[0]}" for name in ("socket", "pid-file", "log-file", "seed-file", "key-file")
        ]
        self._spawn("munge", "munged", "--force", "--foreground", "--num-threads=8", *files)
        self.wait_until((here / "socket").exists, "munged listens")

    def _start_accounting(self) -> None:
        data, password, server = self.folder / "db", secrets.token_hex(8), self.folder / "db/socket"
        shutil.chown(data, "mysql")
        options = [f"--datadir={data}", "--user=mysql"]
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", *options, "--skip-test-db"],
            env=self.environment,
            capture_output=True,
            check=True,
            timeout=START_S,
        )
        listen = [f"--port={self.db_port}", "--bind-address=127.0.0.1", f"--socket={server}", f"--pid-file={data}/pid"]
        self._spawn("mariadb", "mariadbd", "--no-defaults", *options, *listen, "--innodb-flush-log-at-trx-commit=0")
        users = "".join(
            f"create user slurm@'{place}' identified by '{password}'; grant all on *.* to slurm@'{place}';"
            for place in ("127.0.0.1", "localhost")
        )
        client = ("mariadb", "--no-defaults", f"--socket={server}", "-e")
        self.wait_until(lambda: self.run(*client, "select 1", check=False).returncode == 0, "MariaDB answers")
        self.run(*client, users)
        self.configure_accounting(password)
        self._spawn("slurmdbd", "slurmdbd", "-D")
        add = ("sacctmgr", "--immediate", "add", "cluster", "hpcnastest")
        self.wait_until(lambda: self.run(*add, check=False).returncode == 0, "slurmdbd answers")
        self.run("sacctmgr", "--immediate", "add", "account", "research", "description=research", "organization=research")
        self.run("sacctmgr", "--immediate", "add", "user", "root", "account=research", check=False)

    def _spawn(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _idle(self) -> int:
        answer = self.run("sinfo", "--noheader", "--partition=gpu", "--states=idle", "--format=%D", check=False)
        return sum(int(line) for line in answer.stdout.split() if line.isdigit())

    def _sweep(self) -> None:
        """Step daemons and job processes detach from slurmd; they are known by this cluster's folder in their environment."""
        mark = str(self.folder).encode()
        for number in (signal.SIGTERM, signal.SIGKILL):
            found = [pid for pid in _pids() if pid != os.getpid() and mark in _environ(pid)]
            if not found:
                return
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(0.3)

    def _log_tail(self) -> str:
        logs = [*self.folder.glob("*.out"), self.folder / "ctld.log"]
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-600:]}" for log in logs if log.exists())


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
