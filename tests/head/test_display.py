"""What the head shows, on a terminal and elsewhere."""

import io
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from hpcnas.head.display import PlainDisplay, RichDisplay, Snapshot, _picture, make_display
from tests.head.conftest import FakeClock

SNAPSHOT = Snapshot("runs/x", 100, 40, 1, 8, 2, 7, 8, (33, 0.9), 600.0, 400.0)


def test_lines_come_when_something_changed_and_not_more_often(capsys: pytest.CaptureFixture[str], clock: FakeClock) -> None:
    display = PlainDisplay(clock)
    for second in range(60):
        display.show(replace(SNAPSHOT, evaluated=40 + second // 30, eta_s=600.0 - second))
        clock.advance(1)
    lines = capsys.readouterr().out.splitlines()
    assert [line[9:].partition(" ")[0] for line in lines] == ["40/100", "41/100"]
    assert "best 90.00 % (genotype 33)" in lines[0]
    assert "ETA 10 min" in lines[0]


def test_a_note_is_printed_although_only_the_note_is_new(capsys: pytest.CaptureFixture[str], clock: FakeClock) -> None:
    display = PlainDisplay(clock)
    display.show(SNAPSHOT)
    for left in range(60, 0, -1):
        clock.advance(1)
        display.show(replace(SNAPSHOT, note=f"Slurm refused the workers; trying again in {left} s", eta_s=600.0 - left))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "ETA" in lines[1]
    assert "Slurm refused the workers; trying again in" in lines[1]


def test_brackets_in_a_path_or_a_note_are_shown_as_they_are() -> None:
    file = io.StringIO()
    strange = replace(SNAPSHOT, run="/runs/[/bold][red]x", note="node[1-3] [/] refused")
    Console(file=file, width=150).print(_picture(strange))
    assert "/runs/[/bold][red]x" in file.getvalue()
    assert "node[1-3] [/] refused" in file.getvalue()


def test_a_pipe_that_closes_ends_the_printing_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    display = PlainDisplay()
    display.log("one")
    display.log("two")


def test_no_standard_output_at_all_is_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    display = make_display()
    display.log("nobody hears")
    display.close()


def test_a_picture_shows_progress_best_and_failures() -> None:
    file = io.StringIO()
    Console(file=file, width=100).print(_picture(replace(SNAPSHOT, note="draining")))
    for word in ("40/100", "ETA 10 min", "7 of 8", "90.00 %", "genotype 33", "hpcnas failures", "draining"):
        assert word in file.getvalue()


def test_a_terminal_that_goes_away_ends_the_picture_only(monkeypatch: pytest.MonkeyPatch) -> None:
    display = RichDisplay()

    def gone(*args: object, **words: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(display._live, "update", gone)
    display.show(SNAPSHOT)
    display.show(SNAPSHOT)
    display.close()
