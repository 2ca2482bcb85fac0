"""`hpcnas simulate`: its numbers as text and JSON, history, and what it refuses."""

import json
import re
from types import SimpleNamespace

import pytest

from hpcnas.cli import main
from hpcnas.population.queries import Population

SMALL = ["simulate", "--workers", "4", "--steps", "40", "--population", "8"]


def test_a_plan_is_printed(capsys):
    """Wall time, idle share, GPU-hours, what was reused; that the fitness is synthetic."""
    assert main([*SMALL, "--duration", "constant:3600"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"wall time +\d+ h 0 min", out)
    trained = float(re.search(r"GPU-hours +([0-9.]+),", out)[1])
    reused, saved = re.search(r"reused +(\d+) genotypes .* saved ([0-9.]+) GPU-hours", out).groups()
    assert int(reused) == float(saved) > 0
    assert trained + float(saved) == pytest.approx(40.0)
    assert "waiting for a genotype" in out
    assert "synthetic" in out


def test_the_same_as_json(capsys):
    """For scripts; --no-breeding leaves the fitness out."""
    assert main([*SMALL, "--duration", "constant:3600", "--json", "--no-breeding", "--start", "0", "--claim", "0"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["evaluated"], summary["failed"], summary["best_fitness"]) == (40, 0, None)
    assert summary["wall_s"] == pytest.approx(36_000)
    assert summary["gpu_hours"] == pytest.approx(40)
    assert summary["idle_share"] == 0


def test_failures_and_preemptions_cost_time(capsys):
    """Against the same search without them."""
    walls = []
    for more in ([], ["--failures", "0.1", "--preemption", "4"]):
        assert main([*SMALL, "--json", "--no-breeding", *more]) == 0
        summary = json.loads(capsys.readouterr().out)
        walls.append(summary["wall_s"])
    assert walls[1] > walls[0]
    assert summary["lost_share"] > 0
    assert summary["preemptions"] > 0


def test_durations_come_from_a_run(capsys, monkeypatch):
    """Those of its evaluated genotypes."""

    class Run:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def individuals(self, state):
            assert state == "evaluated"
            return [SimpleNamespace(seconds=100.0)]

    monkeypatch.setattr(Population, "open", lambda folder: Run())
    assert main([*SMALL, "--duration", "history", "--json", "--no-breeding"]) == 0
    assert json.loads(capsys.readouterr().out)["wall_s"] == pytest.approx(1000, abs=5)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--workers", "0"], "--workers 0 must be at least 1"),
        (["--steps", "-4"], "--steps -4 must be at least 1"),
        (["--tournament", "2"], "--tournament 2"),
        (["--failures", "1"], "--failures 1 must be a share"),
        (["--preemption", "-1"], "--preemption -1 must be a time"),
        (["--duration", "normal:1"], "--duration normal:1 is unknown"),
        (["--duration", "history", "--run", "/nowhere/at/all"], "holds no run"),
        (["--space", "cubic"], "'--space': 'cubic' is not one of 'hierarchical'"),
        (["--search", "grid"], "'--search': 'grid' is not one of 'evolution', 'random'"),
        (["--seed", "many"], "seed"),
    ],
)
def test_what_cannot_be_simulated_is_refused(arguments, expected, capsys):
    """One sentence, exit code 2."""
    assert main(["simulate", *arguments]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("\n") == 1
