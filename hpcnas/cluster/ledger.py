"""The ledger of submissions, kept in the run folder so that any later head finds its workers.

One line of JSON per change, the last line of an intent wins. An intent is written, and on the disk, *before* the submission.
An answer that got lost leaves a line without a job. The tasks have the intent's name as their comment, so they are found
again.
"""

import dataclasses
import json
import os
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcnas.run_folder import RunFolder

MAX_LINE = 4096


@dataclass(frozen=True, slots=True)
class Submission:
    """One submission of `count` tasks.

    Attributes:
        intent: a name given before asking; 12 hex digits.
        job: the array's job id, or the process id of a local worker; "" while the answer is unknown.
        identity: distinguishes a local process from another with the same number, its machine first; "" on Slurm.
        gpus: value of CUDA_VISIBLE_DEVICES that a local worker was given.
        ended: no task of it is there any more, or it was refused.
    """

    intent: str
    cluster: str
    count: int
    job: str = ""
    identity: str = ""
    gpus: str = ""
    ended: bool = False

    def tasks(self) -> list[str]:
        """Names of its tasks, as squeue prints them."""
        if self.cluster == "slurm":
            return [f"{self.job}_{index}" for index in range(self.count)]
        return [self.job]


class Ledger:
    """Submissions of one run folder. One process writes (the head, under its lock), by any thread; others may read."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._path = folder.slurm / "submissions.jsonl"
        self._entries: dict[str, Submission] = {}
        self._lock = threading.Lock()
        self._new: set[str] = set()
        self.run_mark = ""  # names the run in the comment of its tasks
        self._read()

    @property
    def path(self) -> Path:
        """The file, RUN/slurm/submissions.jsonl."""
        return self._path

    def new(self, cluster: str, count: int, gpus: str = "", identity: str = "") -> Submission:
        """Write down the intent to submit `count` tasks."""
        intent = uuid.uuid4().hex[:12]
        self._new.add(intent)
        return self.write(Submission(intent, cluster, count, gpus=gpus, identity=identity))

    def is_new(self, entry: Submission) -> bool:
        """Whether this process wrote the intent: without a job it is being submitted, by this thread or another."""
        return entry.intent in self._new

    def write(self, entry: Submission) -> Submission:
        """Make this the state of its intent, durably."""
        with self._lock:
            self._write(entry)
        return entry

    def end(self, entry: Submission) -> None:
        """Mark a submission as ended, unless another thread has changed it since `entry` was read."""
        with self._lock:
            if self._entries[entry.intent] == entry:
                self._write(dataclasses.replace(entry, ended=True))

    def open(self, cluster: str) -> list[Submission]:
        """Submissions on `cluster` of which tasks may still be there, oldest first."""
        return [entry for entry in self._entries.values() if entry.cluster == cluster and not entry.ended]

    def find(self, intent: str) -> Submission:
        """The present state of an intent."""
        return self._entries[intent]

    def all(self, cluster: str) -> list[Submission]:
        """Every submission on `cluster`, oldest first."""
        return [entry for entry in self._entries.values() if entry.cluster == cluster]

    def _read(self) -> None:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                values = json.loads(line)
            except json.JSONDecodeError:
                continue  # the last line of a head killed while it wrote: that intent was never submitted
            if "run" in values:
                # A copied run folder is another run: the tasks of the original are not its own.
                self.run_mark = values["run"] if self._was_written_here(values) else ""
                self._entries.clear()
            else:
                entry = Submission(**values)
                self._entries[entry.intent] = entry
        if not self.run_mark:
            self._entries.clear()

    def _inode(self) -> int:
        self._folder.path.mkdir(parents=True, exist_ok=True)
        return self._folder.path.stat().st_ino

    def _was_written_here(self, header: dict[str, Any]) -> bool:
        """Whether the folder is the one that the line names, perhaps by another name: a link, an automounter's path, a move."""
        here = self._folder.path.stat()
        try:
            there = os.stat(header["path"])
        except OSError:  # moved, or another machine's name of it; the device's number is each machine's own
            return header["path"] == str(self._folder.path) or header.get("inode") == here.st_ino
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def _write(self, entry: Submission) -> None:
        if not self.run_mark:
            self.run_mark = "hpcnas-" + uuid.uuid4().hex[:12]
            self._append({"run": self.run_mark, "path": str(self._folder.path), "inode": self._inode()})
        self._append(dataclasses.asdict(entry))
        self._entries = {**self._entries, entry.intent: entry}  # a new one: other threads may be reading the old

    def _append(self, values: dict[str, object]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(self._separator() + json.dumps(values).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _separator(self) -> bytes:
        """A line feed when the file ends inside a line, so that the torn one spoils no other."""
        with self._path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return b""
            file.seek(-1, os.SEEK_END)
            return b"" if file.read(1) == b"\n" else b"\n"
