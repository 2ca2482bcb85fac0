"""Run folders with a population of any size, by direct insertion: a store would need minutes for 100,000."""

import random
import sqlite3
from dataclasses import replace
from pathlib import Path

from hpcnas.config import RunConfig, SearchConfig
from hpcnas.config_file import config_toml
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.report.tables.formatting import Spread
from hpcnas.representation.codec import genotype_to_json
from hpcnas.representation.presets import PUBLISHED
from hpcnas.run_folder import RunFolder

START = 1_700_000_000.0
HOSTILE = "<script>alert('x')</script> | \\textbf{&} =1+1"


def make_run(path: Path, individuals: int, *, population: int = 200, workers: int = 20, fitness: str = "train") -> RunFolder:
    """A finished evolution run of evaluated individuals, some failed attempts with a hostile message among them."""
    folder = RunFolder(path)
    config = replace(RunConfig(), search=SearchConfig(steps=individuals, population=min(population, individuals)))
    config = replace(config, recipe=replace(config.recipe, fitness=fitness))
    path.mkdir(parents=True)
    folder.config.write_text(config_toml(config), encoding="utf-8")
    SQLiteStore.create(folder, config).close()
    database = sqlite3.connect(folder.database)
    database.execute("UPDATE run SET created = ?", (START,))
    _fill(database, individuals, config.search.population, workers)
    database.commit()
    database.close()
    return folder


def _fill(database: sqlite3.Connection, individuals: int, population: int, workers: int) -> None:
    rng, text = random.Random(1), genotype_to_json(PUBLISHED)
    offspring, repeats, attempts = [], [], []
    clock = [START + 10.0] * workers
    for step in range(1, individuals + 1):
        worker = step % workers
        mean = min(0.95, 0.8 + 0.1 * (step / individuals) ** 0.5 + rng.gauss(0, 0.01))
        accuracies = [min(1.0, max(0.0, rng.gauss(mean, 0.002))) for _ in range(4)]
        spread = Spread.of(accuracies)
        assert spread is not None
        parent = None if step <= population else rng.randrange(1, step)
        mutation = "" if parent is None else "level 2 motif 3: 1-4 none -> conv1x1"
        parameters = rng.randrange(20_000, 900_000)
        offspring.append(
            (step, step, f"{step:064x}", text, parent, mutation, parameters, START, "evaluated", 2, spread.mean, step)
        )
        repeats += [(step, k, value, step, 2, 5000, 850.0, "NVIDIA P100", clock[worker]) for k, value in enumerate(accuracies)]
        if step % 50 == 7:
            kind = rng.choice(("oom", "crash", "lost"))
            attempts.append(
                (step, 1, f"f{step}", f"w{worker}", f"node{worker}", clock[worker], clock[worker] + 60, kind, HOSTILE)
            )
            clock[worker] += 60
        attempts.append(
            (step, 2, f"c{step}", f"w{worker}", f"node{worker}", clock[worker], clock[worker] + 3400, "evaluated", "")
        )
        clock[worker] += 3410
    people = [(f"w{k}", f"node{k}", k, "NVIDIA P100", "1", f"1_{k}", START + 1, clock[k]) for k in range(workers)]
    many = database.executemany
    many(
        "INSERT INTO worker (id, host, pid, device, slurm_job, slurm_task, joined, ended) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        people,
    )
    many(
        "INSERT INTO individual (id, step, digest, genotype, parent_id, mutation, parameters, born, state, token, fitness,"
        " position) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        offspring,
    )
    many("INSERT INTO fitness VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", repeats)
    many(
        "INSERT INTO attempt (individual_id, token, claim_id, worker_id, host, started, ended, outcome, error)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        attempts,
    )
