"""`hpcnas bench store` gives the figures that docs/performance.md names, whatever they are on this machine."""

from pathlib import Path

from hpcnas.population.bench_store import run
from hpcnas.population.bench_text import text
from hpcnas.search.breeder import Breeder


def test_the_summary_has_every_figure_and_the_text_every_row(memory_path: Path) -> None:
    small = {"rounds": 2, "cycles": 5, "clients": 6, "seconds": 0.5, "sizes": (10, 20, 40)}
    result = run(lambda store, config: Breeder(store, config).breed, **small, folder=memory_path)
    summary = result["summary"]
    assert set(summary) == {"cycles_per_s", "raw_ratio", "growth_ratio", "service_cycles_per_s", "service_p99_ms", "fairness",
                            "breed_ms_20", "breed_ms_40"}  # fmt: skip
    assert all(value > 0 for value in summary.values())
    assert summary["fairness"] > 0.7
    assert {"machine", "versions", "rows", "summary"} == set(result)
    shown = text(result)
    assert all(row["name"] in shown for row in result["rows"])
    assert all({"name", "n", "median", "unit"} <= set(row) for row in result["rows"])
