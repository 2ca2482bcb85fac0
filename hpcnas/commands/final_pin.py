"""Which genotype `best` means to a job: what it meant when the job, or the first task of its array, started.

A search goes on while its best genotype is trained; a requeued job must not change over to another one halfway.
"""

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from hpcnas.errors import UsageError
from hpcnas.representation.codec import genotype_from_json, genotype_to_json
from hpcnas.representation.genotype import Genotype
from hpcnas.system.new_file import create_file

Named = tuple[Genotype, int | None]


def pinned(folder: Path, word: str, resolve: Callable[[], list[Named]]) -> list[Named]:
    """What `word` meant at first in this Slurm job.

    Outside of Slurm, and for anything but best and best-so-far, what it means now.

    Args:
        folder: for the note, on a disk that all tasks of the job see.
    Raises:
        UsageError: the note cannot be read.
    """
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID")
    if not job or not word.startswith("best"):
        return resolve()
    note = folder / f".{word}-of-job-{job}.json"
    if not note.exists():
        _write(note, resolve())
    try:
        entries = json.loads(note.read_text(encoding="utf-8"))
        return [(genotype_from_json(entry["genotype"]), entry["individual"]) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{note}, which says what {word} meant when job {job} began, is damaged; remove it") from error


def _write(note: Path, meant: list[Named]) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    partial = note.with_name(f"{note.name}.{uuid.uuid4().hex}")
    content = [{"genotype": genotype_to_json(genotype), "individual": individual} for genotype, individual in meant]
    create_file(note, json.dumps(content).encode(), partial)  # unless another task of the array was first: its note counts
