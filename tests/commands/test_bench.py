"""`hpcnas bench` says what it measures while it does, apart from the figures."""

import json

import pytest
from typer.testing import CliRunner

from hpcnas.cli import build_app
from hpcnas.population import bench_store


def test_the_store_bench_says_on_stderr_what_is_being_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = bench_store.run
    small = {"rounds": 1, "cycles": 2, "clients": 2, "seconds": 0.2, "sizes": (5, 6, 7), "postgres": False}
    monkeypatch.setattr(bench_store, "run", lambda breeder, **given: measure(breeder, **small, **given))
    result = CliRunner().invoke(build_app(), ["bench", "store", "--json"])
    assert result.exit_code == 0, result.output
    assert "rows" in json.loads(result.stdout)
    measured = [line for line in result.stderr.splitlines() if line.startswith("measuring: ")]
    assert len(measured) == 4, result.stderr
