"""`hpcnas final` in this process, one of the ranks of a training or all of it."""

import json
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

from hpcnas.cluster.signals import StopFlag
from hpcnas.commands.final_options import FinalOptions
from hpcnas.commands.final_pin import Named, pinned
from hpcnas.commands.final_preparation import Preparation
from hpcnas.commands.final_record import deliver_final
from hpcnas.commands.final_start import leave
from hpcnas.errors import StoppedBySignal, TrainingDiverged, UsageError
from hpcnas.records import Final
from hpcnas.representation.canonical import digest as digest_of
from hpcnas.representation.codec import genotype_from_json, genotype_to_json
from hpcnas.run_folder import RunFolder
from hpcnas.training.full_size.distributed import Group, RankLost, StoppedElsewhere
from hpcnas.training.full_size.progress import Reporter
from hpcnas.training.full_size.ranks import RankInfo
from hpcnas.training.full_size.recipe import FullRecipe
from hpcnas.training.full_size.result import WEIGHTS_NAME, safetensors_writer
from hpcnas.training.full_size.runs import train_runs
from hpcnas.training.full_size.task import RunOptions, TrainingTask


def train_here(
    options: FinalOptions,
    recipe: FullRecipe,
    resolve: Callable[[], list[Named]],
    rank_info: RankInfo,
    stop: StopFlag,
    preparing: Preparation,
) -> int:
    """Train every run of every genotype, as the rank of `rank_info`.

    Args:
        stop: its handlers are installed.
    Returns:
        The exit code: 0, or that of another rank that was stopped or lost.
    Raises:
        StoppedBySignal: a signal of this rank's own.
        TrainingDiverged: when all others are through, one error for all genotypes that diverged.
    """
    group = Group(rank_info)
    folder = options.folder
    try:
        with preparing():
            group.connect(folder.path / "final")
            group.use(options.device)
            genotypes = _agreed(group, folder, options.genotype, resolve)
        return _train_all(options, recipe, group, stop, preparing, genotypes)
    except StoppedElsewhere as stopped:
        return stopped.exit_code
    except RankLost as lost:
        # At once: closing connections to a dead rank may hang. Python also removes its signal handlers while it ends.
        # srun's SIGTERM (143) would then hide the killed rank (137), and the script would not requeue the job.
        os._exit(_leave_without(lost, stop, preparing, rank_info))
    finally:
        group.close()


def _agreed(group: Group, folder: RunFolder, word: str, resolve: Callable[[], list[Named]]) -> list[Named]:
    """The genotypes as rank 0 reads them: a running search may have another best a moment later."""
    found: list[Named] = []
    group.first_only(lambda: found.extend(pinned(folder.path / "final", word, resolve)))
    said = group.share(json.dumps([[genotype_to_json(genotype), individual] for genotype, individual in found]))
    return [(genotype_from_json(text), individual) for text, individual in json.loads(said)]


def _train_all(
    options: FinalOptions, recipe: FullRecipe, group: Group, stop: StopFlag, preparing: Preparation, genotypes: list[Named]
) -> int:
    run_options = RunOptions(
        checkpoint_minutes=options.checkpoint_minutes,
        log_s=options.log_seconds,
        loaders=options.loaders,
        stop_code=lambda: stop.exit_code,
        preparing=preparing,
        tensorboard=options.tensorboard,
        download=options.download,
        compile=options.compile,
    )
    diverged: dict[str, TrainingDiverged] = {}
    for named in genotypes:
        try:
            _train_genotype(options, recipe, group, stop, named, run_options)
        except TrainingDiverged as error:
            name = _name(named)
            diverged[name] = error
            if group.is_first and named is not genotypes[-1]:
                Reporter(0, 1)(f"genotype {name} diverged; the other genotypes go on")
    if diverged:
        raise _all_in_one(diverged, len(genotypes))
    return 0


def _train_genotype(
    options: FinalOptions, recipe: FullRecipe, group: Group, stop: StopFlag, named: Named, run_options: RunOptions
) -> None:
    """Train every run of one genotype, deliver each as it ends and print their mean."""
    genotype, individual = named
    digest = digest_of(genotype)
    tasks = [
        TrainingTask(genotype, recipe, run, _output(options, recipe, digest, run), individual)
        for run in options.run_numbers(recipe)
    ]
    # All runs are checked before the first is trained: a refusal of the last one would else come days later.
    for task in tasks:
        group.first_only(partial(_check_weights_out, options, task))
    results = []
    with closing(train_runs(tasks, group, run_options)) as trained:
        # One by one, as they end: a job that is killed in its last run has delivered the others.
        for task, result in trained:
            group.first_only(partial(_hand_over, options, stop, task, result))
            results.append(result)
    if group.is_first and len(results) > 1:
        print(_summary(results), flush=True)


def _all_in_one(diverged: Mapping[str, TrainingDiverged], count: int) -> TrainingDiverged:
    """One error for all genotypes that diverged, of `count`; on another rank than the first error's it says nothing."""
    first = next(iter(diverged.values()))
    if count == 1 or isinstance(first, StoppedElsewhere):
        return first
    return TrainingDiverged(f"{len(diverged)} of {count} genotypes diverged ({', '.join(diverged)}); the first: {first}")


def _name(named: Named) -> str:
    genotype, individual = named
    return str(individual) if individual is not None else digest_of(genotype)[:16]


def _output(options: FinalOptions, recipe: FullRecipe, digest: str, run: int) -> Path:
    if options.out:
        return Path(options.out).absolute() / f"run-{run}"
    return options.folder.final(recipe.folder_name, digest[:16], run)


def _weights_out(options: FinalOptions, run: int) -> Path:
    return Path(options.weights_out.replace("{run}", str(run))).absolute()


def _check_weights_out(options: FinalOptions, task: TrainingTask) -> None:
    if not options.weights_out:
        return
    # Called for its error only: a missing package is said before the training, not at its end.
    safetensors_writer()
    target = _weights_out(options, task.run)
    is_one = task.recipe.runs == 1 or options.run_index is not None
    if "{run}" not in options.weights_out and not is_one:
        raise UsageError(
            f"--weights-out {options.weights_out} names one file for {task.recipe.runs} runs; put {{run}} into the "
            f"name, as in w-{{run}}.safetensors"
        )
    # With weights of its own the task was finished before, and the target is the copy that it made then.
    if target.exists() and not (task.folder / WEIGHTS_NAME).exists():
        raise UsageError(f"--weights-out {target} is there already; give another name, or move it away")


def _hand_over(options: FinalOptions, stop: StopFlag, task: TrainingTask, result: Final) -> None:
    """Deliver a finished run, on rank 0; all of it may be done twice."""
    top5 = "" if result.error_top5 is None else f", top-5 {result.error_top5:.2f} %"
    print(
        f"{task.recipe.folder_name} run {task.run}: error {result.error_top1:.2f} %{top5} on {result.details['tested']} images "
        f"({result.parameters:,} parameters, {result.devices}); {task.folder / 'result.json'}",
        flush=True,
    )
    if options.weights_out:
        target, source = _weights_out(options, task.run), task.folder / WEIGHTS_NAME
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            # Renamed when it is whole: the next start takes a file that is there for the finished copy.
            beside = target.with_name(f".{target.name}.{os.getpid()}")
            shutil.copyfile(source, beside)
            os.replace(beside, target)
    line = deliver_final(options.folder, result, is_stopping=lambda: bool(stop))
    if line:
        print(line, flush=True)


def _summary(results: list[Final]) -> str:
    errors = [result.error_top1 for result in results]
    mean, deviation = statistics.mean(errors), statistics.stdev(errors)
    return f"error {mean:.2f} ± {deviation:.2f} % (n = {len(errors)}, sample standard deviation)"


def _leave_without(lost: RankLost, stop: StopFlag, preparing: Preparation, rank_info: RankInfo) -> int:
    """Log that another rank is lost, unless all were asked to stop and some of them left sooner."""
    if stop.exit_code:
        what = "the preparation" if preparing.is_stopped else "the training"
        return leave(StoppedBySignal.by(stop.exit_code, what), rank_info)
    print(f"hpcnas: {lost}", file=sys.stderr, flush=True)
    return lost.exit_code
