"""The command that plans a search in virtual time: simulate."""

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from hpcnas.config import Search, SearchConfig, default_space
from hpcnas.errors import UsageError, check_at_least
from hpcnas.representation.space import Kind
from hpcnas.run_folder import RunFolder
from hpcnas.system.durations import duration as readable_duration

if TYPE_CHECKING:
    from hpcnas.simulation.durations import Durations
    from hpcnas.simulation.search import Scenario, SimulationResult


def register(app: typer.Typer) -> None:
    """Add simulate."""
    app.command()(simulate)


def simulate(
    workers: Annotated[int, typer.Option("--workers", help="Workers, one GPU each.")] = 200,
    steps: Annotated[int, typer.Option("--steps", help="Genotypes to evaluate.")] = 7000,
    population: Annotated[int, typer.Option("--population", help="Initial random genotypes.")] = 200,
    search: Annotated[Search, typer.Option("--search", help="How new genotypes come about.")] = "evolution",
    space: Annotated[Kind, typer.Option("--space", help="The search space.")] = "hierarchical",
    tournament: Annotated[float, typer.Option("--tournament", help="Share of the population in a tournament.")] = 0.05,
    repeats: Annotated[int, typer.Option("--repeats", help="Trainings of a genotype; finished ones survive a preemption.")] = 4,
    duration: Annotated[
        str,
        typer.Option(
            "--duration",
            help="Seconds of a genotype: constant:S, lognormal:MEDIAN,SIGMA, exponential:MEAN, or history: those of --run.",
        ),
    ] = "lognormal:3600,0.4",
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN", help="Where history comes from (default $HPCNAS_RUN, else runs/default)."),
    ] = None,
    failures: Annotated[float, typer.Option("--failures", help="Share of attempts that end with an error.")] = 0.0,
    preemption: Annotated[
        float, typer.Option("--preemption", help="Mean hours between preemptions of a worker; 0: none.")
    ] = 0.0,
    restart: Annotated[float, typer.Option("--restart", help="Seconds from a preemption to the new start.")] = 120.0,
    start: Annotated[float, typer.Option("--start", help="Seconds from a worker's start to its first claim.")] = 1.0,
    arrival: Annotated[float, typer.Option("--arrival", help="Seconds over which the workers' jobs start.")] = 0.0,
    claim: Annotated[float, typer.Option("--claim", help="Seconds the head needs for one claim.")] = 0.001,
    seed: Annotated[int, typer.Option("--seed", help="Of breeding, durations, failures and preemptions.")] = 0,
    breeding: Annotated[
        bool, typer.Option("--breeding/--no-breeding", help="Breed genotypes with synthetic fitness, or follow the time alone.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Plan a search: the head and its workers in virtual time, without training anything."""
    from hpcnas.simulation.search import Scenario
    from hpcnas.simulation.search import simulate as run_search

    _check(workers=workers, repeats=repeats, failures=failures)
    _check_times(preemption=preemption, restart=restart, start=start, arrival=arrival, claim=claim)
    scenario = Scenario(
        durations=_durations(duration, run),
        space=default_space(space),
        search=SearchConfig(algorithm=search, steps=steps, population=population, tournament=tournament, seed=seed),
        workers=workers,
        repeats=repeats,
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


def _check(workers: int, repeats: int, failures: float) -> None:
    for option, value in (("--workers", workers), ("--repeats", repeats)):
        check_at_least(option, value, 1)
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
        "wall_s": round(outcome.wall_s, 3),
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
        ("idle", f"{value['idle_share']:.3%} waiting for a genotype, {value['starting_share']:.3%} starting"),
        ("thrown away", f"{value['lost_share']:.3%} of the time, {value['preemptions']} preemptions, {value['failed']} failed"),
        ("head", f"{value['head_share']:.3%} of the wall time answering claims"),
    ]
    if value["best_fitness"] is not None:
        lines.append(("best fitness", f"{value['best_fitness']:.2%} (synthetic: it says nothing about architectures)"))
    lines.append(("simulated in", f"{value['took_s']:.1f} s"))
    return "\n".join(f"{name:<13} {text}" for name, text in lines)
