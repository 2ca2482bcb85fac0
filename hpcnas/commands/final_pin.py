"""Keeps the genotype that `best` named when a batch job, or the first task of its array, started.

A search goes on while its best genotype is trained; a requeued job must not change over to another one halfway. A job that
was not requeued, such as an interactive allocation, in which `best` is trained again and again, takes the best of now.
"""

import json
import os
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from hpcnas.errors import UsageError
from hpcnas.representation.codec import genotype_from_json, genotype_to_json
from hpcnas.representation.genotype import Genotype
from hpcnas.system.new_file import create_file

Named = tuple[Genotype, int | None]
BEST, BEST_SO_FAR, FRONT = "best", "best-so-far", "front"  # what they name changes while a search goes on


def pinned(folder: Path, word: str, resolve: Callable[[], list[Named]]) -> list[Named]:
    """The genotypes that `word` named at first, for a requeued job and the tasks of an array; else those of now.

    Args:
        folder: for the note, on a disk that all tasks of the job see.
    Raises:
        UsageError: the note cannot be read.
    """
    array, job = os.environ.get("SLURM_ARRAY_JOB_ID", ""), os.environ.get("SLURM_JOB_ID", "")
    if not job or word not in (BEST, BEST_SO_FAR, FRONT):
        return resolve()
    note = folder / f".{word}-of-job-{array or job}.json"
    # Only a requeue and an array have later tasks, and these must train the same genotype.
    is_kept = bool(array) or int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0
    is_new = not (is_kept and note.exists())
    if is_new:
        _write(note, resolve(), is_kept=is_kept)
    meant = _read(note, word)
    if not is_new:
        names = ", ".join(str(individual) for _, individual in meant)
        print(f"{word} is what it was when job {array or job} began: genotype {names}", file=sys.stderr, flush=True)
    return meant


def _read(note: Path, word: str) -> list[Named]:
    try:
        entries = json.loads(note.read_text(encoding="utf-8"))
        return [(genotype_from_json(entry["genotype"]), entry["individual"]) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{note}, which says what {word} meant when its job began, is damaged; remove it") from error


def _write(note: Path, meant: list[Named], *, is_kept: bool) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    partial = note.with_name(f"{note.name}.{uuid.uuid4().hex}")
    content = [{"genotype": genotype_to_json(genotype), "individual": individual} for genotype, individual in meant]
    if not is_kept:
        partial.write_text(json.dumps(content), encoding="utf-8")
        os.replace(partial, note)  # of an earlier command in this job, or of an earlier job of this id
        return
    create_file(note, json.dumps(content).encode(), partial)  # unless another task of the array was first: its note counts
