"""The command that plans a search in virtual time: simulate."""

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpcnas.command_help import MEASURE, add, shown
from hpcnas.commands.head_options import option_layer, resolve, run_options, some_options
from hpcnas.commands.options import grouped, offering
from hpcnas.config import BUDGETS
from hpcnas.errors import UsageError
from hpcnas.run_folder import RunFolder
from hpcnas.system.durations import duration as readable_duration

if TYPE_CHECKING:
    from hpcnas.simulation.durations import Durations
    from hpcnas.simulation.scenario import Scenario, SimulationResult

_TIMES = "Times and faults"
# All of them but duplicates, as only the very same genotypes are looked for here, and budgets, which end no simulation.
_BREEDING = [(option, panel) for option, panel in run_options("space", "search") if option.name not in ("duplicates", *BUDGETS)]


def register(app: typer.Typer) -> None:
    """Add simulate."""
    add(app, simulate)


@shown(
    MEASURE,
    "hpcnas simulate --workers 50 --duration lognormal:1800,0.4",
    "hpcnas simulate --duration history --run runs/first --preemption 24",
)
@offering([*some_options("cluster", ("workers",)), *some_options("recipe", ("repeats",)), *_BREEDING])
def simulate(
    *,
    duration: Annotated[
        str,
        grouped(
            "Seconds of a genotype: constant:S, lognormal:MEDIAN,SIGMA, exponential:MEAN, or history: those of --run. "
            "[lognormal:3600,0.4]",
            _TIMES,
            metavar="LAW",
        ),
    ] = "lognormal:3600,0.4",
    run: Annotated[
        str | None, grouped("Where history comes from. [$HPCNAS_RUN, else runs/default]", _TIMES, metavar="RUN")
    ] = None,
    failures: Annotated[float, grouped("Share of attempts that end with an error. [0]", _TIMES, metavar="SHARE")] = 0.0,
    preemption: Annotated[
        float, grouped("Mean hours between preemptions of a worker; 0: none. [0]", _TIMES, metavar="HOURS")
    ] = 0.0,
    restart: Annotated[float, grouped("Seconds from a preemption to the new start. [120]", _TIMES, metavar="S")] = 120.0,
    start: Annotated[float, grouped("Seconds from a worker's start to its first claim. [1]", _TIMES, metavar="S")] = 1.0,
    arrival: Annotated[float, grouped("Seconds over which the workers' jobs start. [0]", _TIMES, metavar="S")] = 0.0,
    claim: Annotated[float, grouped("Seconds the head needs for one claim. [0.001]", _TIMES, metavar="S")] = 0.001,
    breeding: Annotated[
        bool, typer.Option("--breeding/--no-breeding", help="Breed genotypes with synthetic fitness, or follow the time alone.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    **given: Any,
) -> None:
    """Plan a search: the head and its workers in virtual time, without training anything."""
    from hpcnas.networks.own_primitives import with_primitives
    from hpcnas.simulation.scenario import Scenario
    from hpcnas.simulation.search import simulate as run_search

    _check_share(failures)
    _check_times(preemption=preemption, restart=restart, start=start, arrival=arrival, claim=claim)
    config = resolve([option_layer(given)], None)
    scenario = Scenario(
        durations=_durations(duration, run),
        space=with_primitives(config.space),
        search=config.search,
        workers=config.cluster.workers,
        repeats=config.recipe.repeats,
        claim_s=claim,
        arrival_s=arrival,
        start_s=start,
        failure=failures,
        preemption_s=3600 * preemption,
        restart_s=restart,
        is_breeding=breeding,
    )
    began = time.perf_counter()
    summary = _summary(scenario, run_search(scenario), duration) | {"took_s": round(time.perf_counter() - began, 3)}
    print(json.dumps(summary, indent=2) if as_json else _text(summary))


def _check_share(failures: float) -> None:
    if not 0 <= failures < 1:
        raise UsageError(f"--failures {failures:g} must be a share of the attempts from 0 to below 1, as 0.02")


def _check_times(**times: float) -> None:
    for name, value in times.items():
        if not 0 <= value < float("inf"):
            raise UsageError(f"--{name} {value:g} must be a time of at least 0")


def _durations(text: str, run: str | None) -> "Durations":
    from hpcnas.simulation.durations import from_history, parse_durations

    if text != "history":
        return parse_durations(text)
    from hpcnas.population.queries import Population

    with Population.open(RunFolder.from_option(run)) as population:
        return from_history([individual.seconds for individual in population.individuals("evaluated")])


def _summary(scenario: "Scenario", outcome: "SimulationResult", duration: str) -> dict[str, object]:
    held_s = outcome.held_s
    return {
        "search": scenario.search.algorithm,
        "space": scenario.space.kind,
        "steps": scenario.search.steps,
        "workers": scenario.workers,
        "duration": duration,
        "evaluated": outcome.evaluated,
        "failed": outcome.failed,
        "attempts": outcome.attempts,
        "preemptions": outcome.preemptions,
        "reused": outcome.reused,
        "saved_gpu_hours": round(outcome.saved_s / 3600, 3),
        "wall_s": round(outcome.wall_s, 3),
        # The reserve that waits while the last genotypes are trained has a line of its own below.
        "gpu_hours": round((held_s - outcome.tail_s) / 3600, 3),
        "idle_share": round(outcome.idle_s / held_s, 6),
        "starting_share": round(outcome.starting_s / held_s, 6),
        "lost_share": round(outcome.lost_s / held_s, 6),
        "tail_gpu_hours": round(outcome.tail_s / 3600, 3),
        "head_share": round(outcome.head_s / outcome.wall_s, 6),
        "best_fitness": outcome.best,
        "is_synthetic": True,
    }


def _text(summary: dict[str, object]) -> str:
    value = dict(summary)
    lines = [
        ("search", f"{value['search']}, {value['space']}, {value['steps']} genotypes, {value['workers']} workers"),
        ("one genotype", f"{value['duration']}"),
        ("wall time", readable_duration(float(str(value["wall_s"])))),
        (
            "GPU-hours",
            f"{value['gpu_hours']:.1f}, and {value['tail_gpu_hours']:.1f} more in reserve while the last ones are trained",
        ),
        (
            "reused",
            f"{value['reused']} genotypes that had been trained before, which saved {value['saved_gpu_hours']:.1f} GPU-hours",
        ),
        ("idle", f"{value['idle_share']:.3%} waiting for a genotype, {value['starting_share']:.3%} starting"),
        ("thrown away", f"{value['lost_share']:.3%} of the time, {value['preemptions']} preemptions, {value['failed']} failed"),
        ("head", f"{value['head_share']:.3%} of the wall time answering claims"),
    ]
    if value["best_fitness"] is not None:
        best = 100 * float(str(value["best_fitness"]))
        lines.append(("best fitness", f"{best:.2f} % (synthetic: it says nothing about architectures)"))
    lines.append(("simulated in", f"{value['took_s']:.1f} s"))
    return "\n".join(f"{name:<13} {text}" for name, text in lines)
