import contextlib
import logging

from hpcnas.run_folder import RunFolder
from hpcnas.search.head_log import NoRepeats, log_to_file
from tests.search.conftest import FakeClock


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("hpcnas", logging.ERROR, "", 0, "%s", (text,), None)


def test_the_same_sentence_comes_once_a_minute_and_others_at_once(clock: FakeClock) -> None:
    rule = NoRepeats(clock)
    passed = 0
    for _ in range(200):  # a hundred seconds
        passed += rule.filter(record("the disk is full"))
        clock.advance(0.5)
    assert passed == 2
    assert rule.filter(record("something else"))


def test_a_full_disk_does_not_fill_the_log(folder: RunFolder) -> None:
    with contextlib.ExitStack() as stack:
        log_to_file(folder, stack)
        for _ in range(1000):
            logging.getLogger("hpcnas.population.service").error("%s", "the disk is full")
    assert (folder.logs / "head.log").read_text().count("the disk is full") == 1
