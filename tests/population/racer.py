"""A process of the claim race: joins, claims until nothing is left, records, prints what it got."""

import json
import os
import sys
from pathlib import Path

from hpcnas.config import RunConfig
from hpcnas.config_file import read_config
from hpcnas.population import open_queue
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.records import Fitness, Verdict, WorkerInfo
from hpcnas.run_folder import RunFolder


def main(run: str, name: str, direct: str) -> None:
    folder = RunFolder(Path(run))
    config = RunConfig.from_dict(read_config(folder.config))
    queue = SQLiteStore.open(folder, backup_s=None) if direct == "file" else open_queue(folder, config)
    queue.join(WorkerInfo(name, f"host-{name}", os.getpid()))
    print("ready", flush=True)
    sys.stdin.readline()
    got = []
    while (claim := queue.claim(name, f"{name}-{len(got)}")).verdict is Verdict.OK:
        lease = claim.lease
        assert lease is not None
        got.append([lease.individual_id, lease.token])
        for repeat in range(config.recipe.repeats):
            accuracy = (lease.individual_id + repeat) / 10_000
            assert queue.record(lease.individual_id, lease.token, Fitness(repeat, accuracy, 0, 1, 0.1)) is Verdict.OK
    queue.leave(name, "done")
    queue.close()
    print(json.dumps(got), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
