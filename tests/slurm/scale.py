"""Measure a search with 200 workers on 50 pretended nodes of 4 GPUs: `python -m tests.slurm.scale --out docs`.

Writes scale.csv (live workers and evaluated genotypes, second by second), scale.svg and a table. With
--faults everything that happens on clusters happens once while it runs, and the accounting is off. --picture FILE.svg
draws the terminal of `hpcnas status --watch` in the middle of the search.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hpcnas.population.invariants import check_database, check_invariants
from hpcnas.population.queries import Population
from hpcnas.run_folder import RunFolder
from tests.slurm.faults import Commands, Faults
from tests.slurm.picture import draw
from tests.slurm.starter import Cluster, missing
from tests.slurm.watching import Watch, evaluated, head_output, start_head

MOST_FILES = 1000  # in submitit's folder, whatever the length of the search


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--gpus", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=1.0, help="what a genotype takes")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--out", type=Path, default=None, help="folder for scale.csv and scale.svg")
    parser.add_argument("--picture", type=Path, default=None, help="file for the terminal as SVG")
    given = parser.parse_args(arguments)
    reason = missing()
    if reason:
        print(f"no cluster can be started here: {reason}", file=sys.stderr)
        return 4
    with tempfile.TemporaryDirectory(prefix="hpcnas-scale-") as place:
        run = Path(place) / "runs" / "paper"
        run.parent.mkdir()
        measured = measure(run, given.nodes, given.gpus, given.steps, given.seconds, faults=given.faults, picture=given.picture)
    rows = measured.pop("rows")
    print(json.dumps(measured, indent=2))
    if given.out:
        write(given.out, rows, "scale-faults" if given.faults else "scale")
    is_well = measured["evaluated"] == given.steps and not measured["violations"] and measured["files_of_submitit"] < MOST_FILES
    return 0 if is_well else 1


def measure(run: Path, nodes: int, gpus: int, steps: int, seconds: float, *, faults: bool, picture: Path | None = None) -> dict:
    """Run one search and read off its population how it went."""
    workers = nodes * gpus
    cluster = Cluster(nodes=nodes, gpus=gpus).start()
    commands = Commands(run.parent / "bin")
    heads: list[subprocess.Popen[str]] = []
    (run.parent / "settings.toml").write_text("[cluster]\nlease_s = 60.0\nheartbeat_s = 10.0\n")

    def start() -> None:
        if heads:
            heads[-1].kill()
            heads[-1].wait()
        options = ["--workers", str(workers), "--partition", "gpu", "--cpus-per-worker", "1", "--steps", str(steps)]
        options += ["--fitness", f"synthetic:{seconds:g}", "--config", str(run.parent / "settings.toml")]
        heads.append(start_head(cluster, run, *options, PATH=commands.path(cluster)))

    begun = time.monotonic()
    try:
        with Watch(cluster, workers) as watch:
            start()
            if faults:
                raise_faults(Faults(cluster, run, commands, start), cluster, run, steps)
            if picture:
                cluster.wait_until(lambda: evaluated(run) >= steps // 2, "half of the genotypes", 3000)
                draw(run, picture)
            cluster.wait_until(lambda: evaluated(run) >= steps - workers, "nearly all genotypes", 3000)
            busy_until_s = watch.moments[-1].at_s
            cluster.wait_until(lambda: heads[-1].poll() is not None, f"the head ends\n{head_output(run)}", 300)
    finally:
        for head in heads:
            head.kill()
            head.wait()
        cluster.stop()
    found = read(run)
    found["wall_s"] = round(time.monotonic() - begun)
    found["longest_unattended_s"] = round(watch.longest_unattended_s(busy_until_s))
    return found


def raise_faults(faults: Faults, cluster: Cluster, run: Path, steps: int) -> None:
    """Spread the faults over the search, each when its share of the genotypes is done."""
    every = faults.all()
    for number, fault in enumerate(every, start=1):
        goal = steps * number // (len(every) + 1)
        cluster.wait_until(lambda goal=goal: evaluated(run) >= goal, f"{goal} genotypes", 1500)
        print(f"{evaluated(run)} evaluated: {fault.__name__.replace('_', ' ')}", flush=True)
        fault()


def read(run: Path) -> dict:
    """What the population says about its own search."""
    with Population.open(run) as population:
        workers, attempts = population.workers(), population.attempts()
        violations = check_invariants(population)
        individuals, counts = population.individuals(), population.counts()
    gaps, last = [], {}
    for attempt in sorted(attempts, key=lambda row: row.started):
        if attempt.worker_id in last:
            gaps.append(attempt.started - last[attempt.worker_id])
        if attempt.ended is not None:
            last[attempt.worker_id] = attempt.ended
    start = min(worker.joined for worker in workers)
    end = max(attempt.ended or attempt.started for attempt in attempts)
    done = sorted(attempt.ended for attempt in attempts if attempt.outcome == "evaluated")
    rows = []
    for second in range(int(end - start) + 2):
        at = start + second
        live = sum(worker.joined <= at and (worker.ended is None or worker.ended > at) for worker in workers)
        rows.append((second, live, sum(moment <= at for moment in done)))
    return {
        "evaluated": counts.evaluated,
        "failed": counts.failed,
        "errors": sum(one.errors for one in individuals),
        "losses": sum(one.losses for one in individuals),
        "preemptions": sum(one.preemptions for one in individuals),
        "attempts": len(attempts),
        "workers": len(workers),
        "most_live": max(live for _, live, _ in rows),
        "seconds_to_95_percent": next((second for second, live, _ in rows if live >= 0.95 * max(r[1] for r in rows)), None),
        "free_to_claim_s": {
            "n": len(gaps),
            "median": round(statistics.median(gaps), 3),
            "p99": round(statistics.quantiles(gaps, n=100, method="inclusive")[98], 3),
            "max": round(max(gaps), 3),
        },
        "files_of_submitit": len(list((run / "slurm").iterdir())),
        "violations": violations + check_database(RunFolder(run)),
        "rows": rows,
    }


def write(folder: Path, rows: list[tuple[int, int, int]], name: str) -> None:
    """The curve as a table and as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["second", "live_workers", "evaluated"])
        writer.writerows(rows)
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.step([row[0] for row in rows], [row[1] for row in rows], where="post", color="#1f6f8b", label="live workers")
    axes.set_xlabel("seconds since the first worker joined")
    axes.set_ylabel("live workers")
    axes.set_ylim(bottom=0)
    other = axes.twinx()
    other.plot([row[0] for row in rows], [row[2] for row in rows], color="#c8553d")
    other.set_ylabel("evaluated genotypes", color="#c8553d")
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
