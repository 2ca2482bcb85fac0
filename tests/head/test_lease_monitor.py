from hpcnas.head.lease_monitor import LeaseWatch
from hpcnas.records import LeaseView
from tests.head.conftest import FakeClock

LEASE_S, STALL_S, HEARTBEAT_S = 300.0, 1800.0, 30.0


def view(heartbeat: int = 0, progress: float = 0.0, token: int = 1) -> LeaseView:
    return LeaseView(7, token, "w", heartbeat, progress)


def watch_for(clock: FakeClock) -> LeaseWatch:
    return LeaseWatch(LEASE_S, STALL_S, HEARTBEAT_S, clock)


def look_until(watch: LeaseWatch, clock: FakeClock, lease: LeaseView, seconds: float, **words: object) -> float | None:
    """Look every 10 s; after how long the lease was given up, None if it was not."""
    for step in range(int(seconds / 10) + 1):
        verdicts = watch.look([lease], **words)  # type: ignore[arg-type]
        if verdicts.lost or verdicts.stalled:
            return 10.0 * step
        clock.advance(10)
    return None


def test_silence_of_more_than_the_lease_is_a_loss(clock: FakeClock) -> None:
    assert look_until(watch_for(clock), clock, view(), 400) == 310


def test_a_beat_starts_the_time_anew(clock: FakeClock) -> None:
    watch = watch_for(clock)
    for beat in range(100):
        assert look_until(watch, clock, view(beat, beat / 100), 250) is None


def test_a_new_token_starts_the_time_anew(clock: FakeClock) -> None:
    watch = watch_for(clock)
    assert look_until(watch, clock, view(token=1), 250) is None
    assert look_until(watch, clock, view(token=2), 250) is None


def test_beats_without_progress_are_a_stall(clock: FakeClock) -> None:
    watch = watch_for(clock)
    stalled_at = None
    for beat in range(400):
        verdicts = watch.look([view(beat, 0.4)])
        assert not verdicts.lost
        if verdicts.stalled:
            stalled_at = 10 * beat
            break
        clock.advance(10)
    assert stalled_at == 1810


def test_a_head_that_slept_starts_every_observation_anew(clock: FakeClock) -> None:
    watch = watch_for(clock)
    assert look_until(watch, clock, view(), 250) is None
    clock.advance(3600)  # suspended
    assert not watch.look([view()]).lost
    assert look_until(watch, clock, view(), 290) is None


def test_a_task_that_is_gone_shortens_the_lease_and_does_not_end_it(clock: FakeClock) -> None:
    assert look_until(watch_for(clock), clock, view(), 400, gone={"w"}) == 80
    watch = watch_for(clock)
    for beat in range(20):  # gone by the cluster's answer, but its heartbeat came: it lives
        assert look_until(watch, clock, view(beat, beat / 20), 60, gone={"w"}) is None


def test_a_lease_that_ended_is_forgotten(clock: FakeClock) -> None:
    watch = watch_for(clock)
    assert look_until(watch, clock, view(), 250) is None
    watch.look([])
    assert look_until(watch, clock, view(), 290) is None
