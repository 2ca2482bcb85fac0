"""The outbox: whole files only, merged once, strangers' files set aside and named."""

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcnas.config import RunConfig
from hpcnas.population import faultpoints
from hpcnas.population.protocol.messages import FailMessage, FinalMessage, RecordMessage, ReleaseMessage
from hpcnas.population.protocol.outbox import MAX_BYTES, merge_outbox, write_outbox
from hpcnas.population.queries import Population
from hpcnas.population.sqlite.store import SQLiteStore
from hpcnas.records import Failure, FailureKind, Final, Fitness, Individual, State, Verdict
from hpcnas.run_folder import RunFolder
from tests.population.conftest import Rig, fitness, make_folder, offspring_record, worker


@pytest.fixture
def rig(make_rig: Callable[[str], Rig]) -> Rig:
    rig = make_rig("sqlite-wal")
    rig.queue.join(worker())
    rig.head.add([offspring_record(number) for number in range(3)])
    for number in range(3):
        rig.queue.claim("w1", f"c{number}")
    return rig


def test_every_kind_of_message_is_merged_once(rig: Rig) -> None:
    final = Final(None, "d", "cifar", 64, "cifar10", 0, 3.75, None, 15543498, 10.0, "1 x H100", {"epochs": 2})
    messages = [
        RecordMessage(1, 1, fitness(0)),
        RecordMessage(1, 1, fitness(1)),
        FailMessage(2, 1, Failure(FailureKind.CRASH, "boom", "trace")),
        ReleaseMessage(3, 1, "time limit"),
        FinalMessage(final),
    ]
    for message in [*messages, *messages]:
        write_outbox(rig.folder, message)
    assert merge_outbox(rig.folder, rig.head) == 10
    assert merge_outbox(rig.folder, rig.head) == 0
    with Population.open(rig.folder) as population:
        rows = population.individuals()
        assert [row.state for row in rows] == [State.EVALUATED, State.QUEUED, State.QUEUED]
        assert (rows[1].errors, rows[2].preemptions) == (1, 1)
        assert population.finals() == [final]
    assert list(rig.folder.outbox.iterdir()) == []


OLD = (
    '{"format":"hpcnas-outbox","version":1,"call":"record","individual_id":1,"token":1,"fitness":'
    '{"repeat":0,"accuracy":0.25,"seed":3,"steps":10,"seconds":2.0,"device":"cpu"}}\n'
)


def test_a_message_that_hpcnas_0_1_0_left_is_merged_and_ours_has_its_text(rig: Rig) -> None:
    rig.folder.outbox.mkdir(exist_ok=True)
    (rig.folder.outbox / "0123456789abcdef0123456789abcdef.json").write_text(OLD, encoding="ascii")
    assert merge_outbox(rig.folder, rig.head) == 1
    with Population.open(rig.folder) as population:
        assert population.individual(1).accuracies == (0.25,)
    ours = write_outbox(rig.folder, RecordMessage(1, 1, Fitness(0, 0.25, 3, 10, 2.0, "cpu")))
    assert ours.read_text(encoding="ascii") == OLD


def test_a_stale_message_is_done_with_and_noted(rig: Rig) -> None:
    rig.head.expire(next(view for view in rig.head.leases() if view.individual_id == 1), "silent")
    rig.queue.claim("w1", "again")
    write_outbox(rig.folder, RecordMessage(1, 1, fitness(0)))
    assert merge_outbox(rig.folder, rig.head) == 1
    with Population.open(rig.folder) as population:
        assert population.individual(1).accuracies == ()
        assert [event.details["verdict"] for event in population.events("outbox")] == ["stale"]


def test_accuracies_are_merged_before_the_genotype_is_given_back(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers claim while the head merges: a genotype that is given back is granted to the next one at once."""
    outbox = rig.folder.outbox
    for number, message in enumerate([ReleaseMessage(1, 1, "terminated"), RecordMessage(1, 1, fitness(0))]):
        write_outbox(rig.folder, message).rename(outbox / f"{number}.json")
    release = rig.head.release

    def release_and_grant(individual_id: int, token: int, reason: str) -> Verdict:
        verdict = release(individual_id, token, reason)
        rig.queue.claim("w1", "the next")
        return verdict

    monkeypatch.setattr(rig.head, "release", release_and_grant)
    assert merge_outbox(rig.folder, rig.head) == 2
    assert _individuals(rig)[0].accuracies == (0.5,)


def test_an_attempt_ends_when_its_worker_wrote_so_and_not_when_a_head_came_days_later(rig: Rig) -> None:
    messages = (RecordMessage(1, 1, fitness(0)), RecordMessage(1, 1, fitness(1)), ReleaseMessage(2, 1, "terminated"))
    paths = [write_outbox(rig.folder, message) for message in messages]
    with Population.open(rig.folder) as population:
        started = {attempt.individual_id: attempt.started for attempt in population.attempts()}
    later = [started[1] + 0.25, started[1] + 0.5, started[2] + 0.75]  # in seconds; the merge comes after a whole one
    for path, moment in zip(paths, later, strict=True):
        os.utime(path, (moment, moment))
    time.sleep(max(0.0, started[1] + 1.0 - time.time()))
    assert merge_outbox(rig.folder, rig.head) == 3
    with Population.open(rig.folder) as population:
        ended = {attempt.individual_id: attempt.ended for attempt in population.attempts()}
    assert ended == {1: pytest.approx(later[1], abs=1e-3), 2: pytest.approx(later[2], abs=1e-3), 3: None}


@pytest.mark.parametrize("moment", [0.0, 1e11])
def test_a_file_with_an_impossible_date_says_nothing_of_when_its_attempt_ended(rig: Rig, moment: float) -> None:
    os.utime(write_outbox(rig.folder, ReleaseMessage(1, 1, "terminated")), (moment, moment))
    assert merge_outbox(rig.folder, rig.head) == 1
    with Population.open(rig.folder) as population:
        attempt = population.attempts()[0]
    assert attempt.ended is not None
    assert attempt.started <= attempt.ended <= time.time()


def text(**content: object) -> bytes:
    return json.dumps({"format": "hpcnas-outbox", "version": 1, **content}).encode()


IMPOSSIBLE = {"repeat": 0, "accuracy": 1.5, "seed": 1, "steps": 1, "seconds": 1, "device": ""}
BAD = {
    "garbage": b"\x00\xff garbage",
    "brackets": b"[" * 100_000,
    "another format": text(format="x", call="release", individual_id=1, token=1, reason=""),
    "another version": text(version=2, call="release", individual_id=1, token=1, reason=""),
    "a call for a head": text(call="leave", worker_id="w1", reason=""),
    "too large": b" " * (MAX_BYTES + 1),
    "a token from nowhere": text(call="release", individual_id=1, token=9, reason=""),
    "no accuracy": text(call="record", individual_id=1, token=1, fitness=IMPOSSIBLE),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_what_cannot_be_understood_is_set_aside_and_named(rig: Rig, name: str) -> None:
    rig.folder.outbox.mkdir(exist_ok=True)
    for _ in range(2):
        (rig.folder.outbox / "bad.json").write_bytes(BAD[name])
        write_outbox(rig.folder, RecordMessage(1, 1, fitness(0)))
        assert merge_outbox(rig.folder, rig.head) == 1
    kept = sorted((rig.folder.outbox / "refused").iterdir())
    assert [path.read_bytes() for path in kept] == [BAD[name]] * 2
    with Population.open(rig.folder) as population:
        assert {event.details["file"] for event in population.events("refused")} == {f"refused/{path.name}" for path in kept}


@pytest.mark.parametrize("call", ["open", "read"])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ESTALE])
def test_a_message_that_cannot_be_read_at_the_moment_is_merged_later(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    path = write_outbox(rig.folder, RecordMessage(1, 1, fitness(0)))

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        assert merge_outbox(rig.folder, rig.head) == 0
    assert path.exists()
    assert merge_outbox(rig.folder, rig.head) == 1
    assert _individuals(rig)[0].accuracies == (0.5,)


def test_links_and_pipes_are_not_read(rig: Rig, tmp_path: Path) -> None:
    target = tmp_path / "target.json"
    target.write_bytes(BAD["garbage"])
    rig.folder.outbox.mkdir(exist_ok=True)
    (rig.folder.outbox / "link.json").symlink_to(target)
    os.mkfifo(rig.folder.outbox / "pipe.json")
    (rig.folder.outbox / "folder.json").mkdir()
    assert merge_outbox(rig.folder, rig.head) == 0
    assert target.read_bytes() == BAD["garbage"]
    assert sorted(path.name for path in (rig.folder.outbox / "refused").iterdir()) == ["folder.json", "link.json", "pipe.json"]


def test_a_disk_that_refuses_is_left_as_it_was(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("write", "fsync", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(faultpoints, name, lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(OSError, match="No space left"):
                write_outbox(rig.folder, ReleaseMessage(3, 1, "time limit"))
    assert list(rig.folder.outbox.iterdir()) == []


def test_a_message_that_the_disk_holds_fast_keeps_no_other_from_being_merged(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    (rig.folder.outbox).mkdir(exist_ok=True)
    (rig.folder.outbox / "0.json").write_text("garbage")
    stuck, other = (write_outbox(rig.folder, ReleaseMessage(number, 1, "time limit")) for number in (1, 2))
    rename, unlink = faultpoints.rename, Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == stuck:
            raise OSError(30, "Read-only file system")
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        patch.setattr(faultpoints, "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        assert merge_outbox(rig.folder, rig.head) == 1
    assert not other.exists()
    assert [row.state for row in _individuals(rig)][:2] == [State.QUEUED, State.QUEUED]
    assert rename is faultpoints.rename
    assert merge_outbox(rig.folder, rig.head) == 1
    assert [path.name for path in rig.folder.outbox.iterdir()] == ["refused"]


def _individuals(rig: Rig) -> list[Individual]:
    with Population.open(rig.folder) as population:
        return population.individuals()


def test_an_unfinished_message_is_not_looked_at(rig: Rig) -> None:
    rig.folder.outbox.mkdir(exist_ok=True)
    (rig.folder.outbox / ".half.new").write_bytes(b'{"format": "hpc')
    assert merge_outbox(rig.folder, rig.head) == 0
    assert (rig.folder.outbox / ".half.new").exists()


@given(data=st.binary(max_size=200) | st.text(alphabet='{}[]":,0123456789truefalsnl', max_size=100).map(str.encode))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_merged_or_set_aside(memory_path: Path, config: RunConfig, data: bytes) -> None:
    folder = RunFolder(memory_path / "fuzz")
    if not folder.path.exists():
        SQLiteStore.create(make_folder(folder.path, config), config, backup_s=None).close()
    store = SQLiteStore.open(folder, backup_s=None)
    folder.outbox.mkdir(exist_ok=True)
    (folder.outbox / "fuzz.json").write_bytes(data)
    assert merge_outbox(folder, store) == 0
    assert not (folder.outbox / "fuzz.json").exists()
    store.close()
