"""Trouble that may pass: its duration, and that a log is not filled with it."""

from hpcnas.head.trouble import REPORT_EVERY_S, Trouble
from tests.head.conftest import FakeClock
from tests.head.fakes import Lines


def test_trouble_lasts_from_its_first_sign_until_it_ends(clock: FakeClock) -> None:
    trouble = Trouble(Lines(), clock)
    assert trouble.lasts_s() == 0
    clock.advance(5)
    assert trouble.lasts_s() == 5
    trouble.end()
    clock.advance(5)
    assert trouble.lasts_s() == 0


def test_the_same_trouble_is_reported_once_a_minute(clock: FakeClock) -> None:
    lines = Lines()
    trouble = Trouble(lines, clock)
    for _ in range(3):
        trouble.report("the disk is full")
    trouble.report("the database is busy")
    clock.advance(REPORT_EVERY_S)
    trouble.report("the disk is full")
    assert lines.said == ["the disk is full", "the database is busy", "the disk is full"]
