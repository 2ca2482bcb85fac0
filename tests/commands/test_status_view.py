"""How a status looks, and what the pieces of it say."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from hpcnas.report.status import RunStatus
from hpcnas.report.status_view import sparkline, status_picture, status_text

STATUS = RunStatus(
    run="/runs/x",
    state="running",
    search="evolution",
    space="hierarchical",
    fitness="train",
    steps=7000,
    evaluated=350,
    queued=0,
    leased=198,
    failed=2,
    live=198,
    wanted=200,
    best=(341, 0.9123),
    seconds=7200.0,
    gpu_seconds=7200.0 * 198,
    eta_s=136_800.0,
    curve=(0.5, 0.6, 0.6, 0.9, 0.9123),
    hosts=(("gpu1", 8), ("gpu2", 7)),
    quarantined=("gpu9",),
    pending=(("Priority", 2),),
)


def picture(status: RunStatus) -> str:
    file = io.StringIO()
    Console(file=file, width=120, force_terminal=False).print(status_picture(status))
    return file.getvalue()


@pytest.mark.parametrize("look", [status_text, picture])
def test_everything_a_user_wants_to_know_is_there(look: object) -> None:
    shown = look(STATUS)  # type: ignore[operator]
    for word in (
        *("running", "350 of 7000", "198 in training", "198 of 200 (gpu1 8, gpu2 7)", "2 for Priority", "gpu9"),
        *("91.23 %, genotype 341", "38 h 0 min", "2 h 0 min", "396.00 GPU-hours", "hpcnas failures"),
    ):
        assert word in shown, word


def test_the_picture_has_a_sparkline_of_the_best_so_far() -> None:
    assert sparkline(STATUS.curve) in picture(STATUS)
    assert "50.00 % at the first, 91.23 % now" in picture(STATUS)


def test_a_sparkline_goes_from_the_lowest_to_the_highest_bar() -> None:
    assert sparkline((0.0, 0.5, 1.0)) == "▁▅█" or sparkline((0.0, 0.5, 1.0)) == "▁▄█"
    assert sparkline((0.3,) * 5) == "▁▁▁▁▁"
    assert len(sparkline(tuple(range(10_000)), width=60)) == 60
    assert sparkline((0.7,)) == "▁"


def test_a_run_that_has_nothing_yet_shows_no_guess() -> None:
    empty = replace(STATUS, best=None, eta_s=None, curve=(), hosts=(), quarantined=(), pending=(), failed=0, evaluated=0)
    for shown in (status_text(empty), picture(empty)):
        assert "best" not in shown
        assert "ETA" not in shown


def test_many_machines_are_summed_up() -> None:
    many = replace(STATUS, hosts=tuple((f"node{k}", 1) for k in range(40)))
    assert "and 28 more machines" in status_text(many)


def test_synthetic_fitness_is_marked() -> None:
    assert "synthetic" in status_text(replace(STATUS, fitness="synthetic:0.1"))


def test_brackets_in_names_are_shown_as_they_are():
    strange = replace(STATUS, run="/runs/[/]a[b]", hosts=(("node[/red]", 2),), quarantined=("[bold]bad",))
    shown = picture(strange)
    for name in ("/runs/[/]a[b]", "node[/red] 2", "[bold]bad"):
        assert name in shown
