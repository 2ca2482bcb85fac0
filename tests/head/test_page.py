"""The page that a head writes while it searches: it costs little, and nothing that hinders it hinders the search."""

import json
import logging
import re
import sys
from pathlib import Path

import pytest

from hpcnas.cli import main
from hpcnas.head.page import FIRST_S, PAUSE, PageWriter
from hpcnas.population.queries import Population
from hpcnas.run_folder import RunFolder

SEARCH = ["head", "--preset", "smoke", "--cluster", "debug", "--workers", "1", "--fitness", "synthetic", "--steps", "24"]
BURN = "import time\nwhile time.process_time() < 0.3: pass"


class Waits:
    """In the place of the writer's event: notes for how long it is asked to wait, and ends the thread after some pages."""

    def __init__(self, pages: int) -> None:
        self.asked: list[float] = []
        self.pages = pages

    def wait(self, seconds: float) -> bool:
        if seconds < 1:  # while a process writes
            return False
        self.asked.append(seconds)
        return len(self.asked) > self.pages

    def is_set(self) -> bool:
        return False

    def set(self) -> None:
        pass


def _data(page: Path) -> dict[str, object]:
    found = re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_a_page_costs_at_most_half_a_percent_of_a_core(folder: RunFolder) -> None:
    """The pause after it is 200 times the processor time that it took; the first comes after a minute."""
    writer = PageWriter(folder, 2.0, (sys.executable, "-c", BURN))
    waits = Waits(pages=2)
    writer._stopping = waits  # type: ignore[assignment]
    writer.start(lambda _: None)
    writer.stop()
    assert waits.asked[0] == 2.0
    assert min(waits.asked[1:]) >= PAUSE * 0.3
    assert 1 / PAUSE <= 0.005
    assert PageWriter(folder, 300.0)._first_s == FIRST_S


def test_a_cheap_page_comes_as_often_as_was_asked(folder: RunFolder) -> None:
    writer = PageWriter(folder, 100.0, ("true",))
    waits = Waits(pages=2)
    writer._stopping = waits  # type: ignore[assignment]
    said: list[str] = []
    writer.start(said.append)
    writer.stop()
    assert waits.asked == [FIRST_S, 100.0, 100.0]
    assert said == [f"page: {folder.page}, written anew every 2 min"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("sh", "-c", "echo first; echo no space left >&2; exit 2"), "no space left"),
        (("false",), "exit code 1"),
        (("/nowhere/python",), "No such file"),
    ],
    ids=["refused", "silent", "missing"],
)
def test_a_page_that_fails_is_one_line_of_the_log(
    command: tuple[str, ...], reason: str, folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it fails in the same way."""
    writer = PageWriter(folder, 1.0, command)
    writer._stopping = Waits(pages=3)  # type: ignore[assignment]
    with caplog.at_level(logging.INFO):
        writer.start(lambda line: pytest.fail(line))
        writer.stop()
    (line,) = caplog.messages
    assert line.startswith("the page was not written: ")
    assert reason in line


def test_a_process_that_hangs_ends_with_the_head(folder: RunFolder) -> None:
    writer = PageWriter(folder, 0.01, ("sleep", "600"))
    writer.start(lambda _: None)
    writer.stop()
    assert writer._thread is not None
    assert not writer._thread.is_alive()


def test_a_search_leaves_a_page_that_stays(tmp_path: Path) -> None:
    """Its last one has all genotypes and does not load itself anew."""
    run = tmp_path / "run"
    search = [*SEARCH, "--fitness", "synthetic:0.1", "--page-every", "1", "--run", str(run)]
    assert main(search) == 0
    data = _data(run / "report.html")
    with Population.open(run) as population:
        assert population.config.cluster.page_every_s == 1.0
        assert len(data["rows"]) == len(population.individuals("evaluated")) == 24  # type: ignore[arg-type]
    assert data["live"] is None


def test_a_page_of_a_search_that_goes_on_knows_when_the_next_one_comes(tmp_path: Path) -> None:
    """As somebody has it who asks for a report meanwhile, too."""
    from hpcnas.system.lock_file import head_lock

    run = RunFolder(tmp_path / "run")
    assert main([*SEARCH, "--page-every", "0", "--run", str(run.path)]) == 0
    lock = head_lock(run.lock)
    lock.acquire()
    try:
        assert main(["report", "--run", str(run.path), "--format", "html"]) == 0
        assert _data(run.page)["live"] is None, "no head writes it anew"
    finally:
        lock.release()
    assert main([*SEARCH, "--steps", "25", "--page-every", "600", "--run", str(run.path)]) == 0
    lock.acquire()
    try:
        assert main(["report", "--run", str(run.path), "--format", "html"]) == 0
        assert _data(run.page)["live"]["period"] == 600  # type: ignore[index]
    finally:
        lock.release()


def test_a_short_search_and_one_that_wants_none_have_no_page(tmp_path: Path) -> None:
    for name, every in (("short", "300"), ("never", "0")):
        assert main([*SEARCH, "--page-every", every, "--run", str(tmp_path / name)]) == 0
        assert not (tmp_path / name / "report.html").exists()


def test_what_a_user_has_put_there_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A page of several runs, or any other file; the search does not mind."""
    run = tmp_path / "run"
    assert main([*SEARCH, "--run", str(run)]) == 0
    (run / "report.html").write_text("mine")
    with caplog.at_level(logging.WARNING):
        assert main([*SEARCH, "--steps", "26", "--page-every", "300", "--run", str(run)]) == 0
    assert (run / "report.html").read_text() == "mine"
    (line,) = [message for message in caplog.messages if "page" in message]
    assert "is no page of run; give --out, or --force to replace it" in line
    assert line in (run / "logs/head.log").read_text(), "the log that a user reads later"
