"""Many processes claim at once: every genotype is granted once, every result is there."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcnas.population.invariants import check_invariants
from hpcnas.population.queries import Population
from hpcnas.records import State
from tests.population.conftest import Rig, offspring_record

RACER = Path(__file__).with_name("racer.py")
pytestmark = pytest.mark.timeout(600)

GENOTYPES, PROCESSES = 60, 6


@pytest.mark.parametrize(
    ("kind", "direct"), [("service", "queue"), ("postgres", "queue"), ("sqlite-wal", "file"), ("sqlite-journal", "file")]
)
def test_no_genotype_is_granted_twice(make_rig: Callable[[str], Rig], kind: str, direct: str) -> None:
    rig = make_rig(kind)
    rig.head.add([offspring_record(number) for number in range(GENOTYPES)])
    processes = [
        subprocess.Popen(
            [sys.executable, str(RACER), str(rig.folder.path), f"w{number}", direct],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    got: list[tuple[int, int]] = []
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            output, _ = process.communicate(timeout=500)
            assert process.returncode == 0
            got += [tuple(pair) for pair in json.loads(output)]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert sorted(got) == [(number, 1) for number in range(1, GENOTYPES + 1)]
    with Population.open(rig.folder) as population:
        assert check_invariants(population) == []
        assert len(population.individuals(State.EVALUATED)) == GENOTYPES
        assert population.counts().workers == 0
