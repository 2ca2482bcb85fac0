"""The paths of the files in a run folder, all in this one place (docs/design.md)."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from hpcnas.errors import UsageError

DEFAULT_RUN = "runs/default"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of a run. Nothing is created or read by naming it."""

    path: Path

    @classmethod
    def from_option(cls, run: str | None) -> "RunFolder":
        """The folder of `--run`, else $HPCNAS_RUN, else runs/default; absolute.

        Raises:
            UsageError: the option is there and empty, as a shell passes a variable that is not set.
        """
        if run == "":
            raise UsageError(f"--run '' names no folder; give one, or leave the option out for {DEFAULT_RUN}")
        return cls(Path(run or os.environ.get("HPCNAS_RUN") or DEFAULT_RUN).absolute())

    @property
    def config(self) -> Path:
        """The full resolved configuration."""
        return self.path / "run.toml"

    @property
    def database(self) -> Path:
        """The SQLite population."""
        return self.path / "population.db"

    @property
    def database_log(self) -> Path:
        """SQLite's write-ahead log, while the database is open on a local disk."""
        return self.path / "population.db-wal"

    @property
    def head_address(self) -> Path:
        """The head's address: JSON host, port, pid, epoch."""
        return self.path / "head.json"

    @property
    def secret(self) -> Path:
        """32 random bytes as hex, mode 0600: what head and workers prove to each other."""
        return self.path / "secret"

    @property
    def lock(self) -> Path:
        """Held by the one head of the run."""
        return self.path / "head.lock"

    @property
    def requests(self) -> Path:
        """The requests of `hpcnas stop` and `hpcnas retry`; the head removes them."""
        return self.path / "wishes"  # as in run folders of 0.1.0

    @property
    def outbox(self) -> Path:
        """Results of workers that found no head; the next head merges them."""
        return self.path / "outbox"

    @property
    def slurm(self) -> Path:
        """submitit's files."""
        return self.path / "slurm"

    @property
    def logs(self) -> Path:
        """One text log per head and worker process."""
        return self.path / "logs"

    @property
    def picture(self) -> Path:
        """The best cell, drawn when a search ended."""
        return self.path / "best.png"

    @property
    def backup(self) -> Path:
        """Checked copies of the database."""
        return self.path / "backup"

    @property
    def page(self) -> Path:
        """The report as one HTML file."""
        return self.path / "report.html"

    def final(self, model: str, genotype: str, run: int) -> Path:
        """Folder of one full-size training: checkpoints and result.json."""
        return self.path / "final" / model / genotype / f"run-{run}"

    @property
    def as_typed(self) -> str:
        """The path as a shell takes it for one argument, for commands that a person copies."""
        return shlex.quote(str(self.path))

    def require(self) -> "RunFolder":
        """This folder, checked to hold a run.

        Raises:
            UsageError: there is no such folder, or it has no run.toml.
        """
        if not self.config.is_file():
            raise UsageError(
                f"{self.path} holds no run; give the folder of one with --run, or start one with "
                f"`python -m hpcnas.head --run {self.as_typed}`"
            )
        return self
