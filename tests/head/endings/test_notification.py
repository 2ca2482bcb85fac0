"""The commands of --on-end and --on-failure: their variables, and that none of them can harm a head."""

import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpcnas.head.endings.notification import Ending, notify

ENDING = Ending("/runs/a b", "drained", "--hours 2 are over", 12, 100, (7, 0.75))


def test_a_command_reads_the_ending_in_its_environment(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not notify(
        f'echo "$HPCNAS_RUN|$HPCNAS_STATE|$HPCNAS_REASON|$HPCNAS_BEST|$HPCNAS_FITNESS|$HPCNAS_EVALUATED" > {out}', ENDING
    )
    assert out.read_text() == "/runs/a b|drained|--hours 2 are over|7|0.75|12\n"


def test_before_the_first_evaluation_there_is_no_best(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not notify(f'echo "[$HPCNAS_BEST$HPCNAS_FITNESS]" > {out}', Ending("r", "failed", "why", 0, 5, None))
    assert out.read_text() == "[]\n"


def test_a_command_that_fails_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        trouble = notify("echo first >&2; echo no such host >&2; exit 3", ENDING)
    assert trouble == "--on-end 'echo first >&2; echo no such host >&2; exit 3' ended with exit code 3: no such host"
    assert trouble in caplog.text


def test_the_command_runs_where_no_temporary_file_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk may be what it reports."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert notify(f"echo said; touch {tmp_path / 'ran'}", ENDING) == ""
    assert (tmp_path / "ran").exists()


def test_a_command_that_hangs_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        assert notify("sleep 600; true", replace(ENDING, state="failed"), timeout_s=0.5).startswith("--on-failure 'sleep 600")
    assert time.monotonic() - began < 30
    assert "had not ended after 0.5 s" in caplog.text


def test_no_command_is_no_notification() -> None:
    assert notify("", ENDING) == ""
