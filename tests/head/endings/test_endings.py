"""How a head ends: by its steps, by a budget or by a failure, and what it runs for the user then."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hpcnas.config import RunConfig
from hpcnas.errors import HpcnasError
from hpcnas.head.process import run_head
from hpcnas.population.queries import Population
from hpcnas.run_folder import RunFolder

TELL = 'echo "$HPCNAS_STATE|$HPCNAS_REASON|$HPCNAS_EVALUATED|$HPCNAS_BEST" >> "$HPCNAS_RUN/told"'


def config_of(**sections: dict[str, Any]) -> RunConfig:
    base = {
        "search": {"steps": 12, "population": 4},
        "recipe": {"fitness": "synthetic", "repeats": 2, "channels": 4},
        "cluster": {"workers": 1, "cluster": "debug", "on_end": TELL, "on_failure": f"false; {TELL}"},
    }
    return RunConfig.from_dict(base | {name: base.get(name, {}) | values for name, values in sections.items()})


def told(folder: RunFolder) -> list[list[str]]:
    return [line.split("|") for line in (folder.path / "told").read_text().splitlines()]


def test_a_finished_search_runs_the_command_of_its_end_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert run_head(config_of(), folder) == 0
    with Population.open(folder) as population:
        best = population.best()
    assert best is not None
    assert told(folder) == [["finished", "", "12", str(best.id)]]
    assert run_head(config_of(), folder) == 0  # nothing to do: nothing ended
    assert len(told(folder)) == 1


def test_patience_drains_a_search_and_a_longer_one_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(tmp_path / "run")
    assert run_head(config_of(search={"steps": 5000, "patience": 2}), folder) == 0
    with Population.open(folder) as population:
        order, state = population.evaluation_order(), population.run()
    records = [at for at, (_, fitness) in enumerate(order) if fitness > max((other for _, other in order[:at]), default=-1)]
    assert max(later - earlier - 1 for earlier, later in pairwise([*records, len(order)])) >= 2
    assert len(order) < 5000
    assert not state.finished
    assert "has not improved for --patience 2 genotypes" in capsys.readouterr().out
    [[kind, reason, count, _]] = told(folder)
    assert (kind, count) == ("drained", str(len(order)))
    assert "--patience 2" in reason
    assert f"the search drained: {reason}" in (folder.logs / "head.log").read_text()

    assert run_head(config_of(search={"steps": len(order) + 3}), folder) == 0  # a budget is no fixed setting
    assert told(folder)[1][:3] == ["finished", "", str(len(order) + 3)]


def test_a_budget_that_is_spent_already_starts_no_worker(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run_head(config_of(search={"steps": 5000, "patience": 1}), folder)
    with Population.open(folder) as population:
        before = population.attempts()
    assert run_head(config_of(search={"steps": 5000, "patience": 1}), folder) == 0
    with Population.open(folder) as population:
        assert population.attempts() == before


def test_a_failing_search_runs_the_command_of_failure_and_keeps_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("def f(genotype, *, repeat, seed, progress):\n    raise ValueError('my own bug')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(HpcnasError, match="my own bug"):
        run_head(config_of(recipe={"fitness": "mine:f"}), folder)
    [[kind, reason, count, best]] = told(folder)
    assert (kind, count, best) == ("failed", "0", "")
    assert "my own bug" in reason or "no fault of genotypes" in reason
    assert f"the search failed: {reason}" in (folder.logs / "head.log").read_text()


def test_a_command_that_fails_changes_nothing_about_the_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, config = RunFolder(tmp_path / "run"), config_of()
    broken = replace(config, cluster=replace(config.cluster, on_end="exit 7"))
    assert run_head(broken, folder) == 0
    trouble = "--on-end 'exit 7' ended with exit code 7"
    assert trouble in (folder.logs / "head.log").read_text()
    assert capsys.readouterr().err.splitlines() == [trouble]


def test_the_command_runs_although_the_log_cannot_be_written_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that became read-only is a failure like any other."""
    folder = RunFolder(tmp_path / "run")
    log = folder.logs / "head.log"
    spoil = f"import pathlib\nlog = pathlib.Path({str(log)!r})\ndef f(*a, **k):\n if log.is_file(): log.unlink(); log.mkdir()\n"
    (tmp_path / "spoils.py").write_text(f"{spoil} raise ValueError('my own bug')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(HpcnasError, match="my own bug"):
        run_head(config_of(recipe={"fitness": "spoils:f"}), folder)
    assert [kind for kind, *_ in told(folder)] == ["failed"]
