"""A full-size training from beginning to end; the one place where a test set is read (paper section 4.1)."""

import contextlib
import importlib.util
import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hpcnas.errors import HpcnasError, StoppedBySignal, UsageError
from hpcnas.records import Final
from hpcnas.representation.codec import genotype_to_json
from hpcnas.system.lock_file import training_lock
from hpcnas.training.data.datasets import load_final_data
from hpcnas.training.data.image_folder import read_image_folder
from hpcnas.training.full_size import result as full_result
from hpcnas.training.full_size.agreement import MORE, agree, attempt
from hpcnas.training.full_size.batches import Batch, FullData, ResidentData, Shard
from hpcnas.training.full_size.checkpoint import checkpoints, half_written, refuse_other_settings
from hpcnas.training.full_size.distributed import Group
from hpcnas.training.full_size.loop import Trainer
from hpcnas.training.full_size.progress import Reporter
from hpcnas.training.full_size.step import FullTraining, resolve_precision
from hpcnas.training.full_size.task import RunOptions, TrainingTask


def train_full(task: TrainingTask, group: Group, options: RunOptions) -> Final:
    """Train one run to its end, or go on with it; a finished one is read back.

    All ranks call it; all return the same.

    Raises:
        StoppedBySignal: a signal came; the same call goes on at the exact step.
        UsageError: data, genotype, batch, devices or output folder do not fit together.
        HpcnasError: the training failed.
    """
    precision = resolve_precision(task.recipe.precision, group.device)
    settings = task.recipe.settings(task.digest, task.run, precision)
    group.together(lambda: task.recipe.batch_per_rank(group.rank_info.world_size))
    with contextlib.ExitStack() as stack:
        finished = enter_folder(stack, task, settings, group)
        if finished is not None:
            return finished
        reporter = Reporter(group.rank_info.rank, group.rank_info.world_size)
        with options.preparing():
            data = stack.enter_context(contextlib.closing(open_data(task, group, options, reporter)))
            trainer = Trainer(task, settings, precision, data, group, options, reporter)
            training, first = trainer.prepare()
        trainer.train(training, first)
        return conclude(task, settings, data, group, options, trainer, training)


def enter_folder(stack: contextlib.ExitStack, task: TrainingTask, settings: dict[str, Any], group: Group) -> Final | None:
    """Lock the output folder until `stack` ends, and clear it of what nobody needs; the result if there is one."""
    group.first_only(lambda: stack.enter_context(training_lock(task.folder)))
    finished = group.together(lambda: _finished(task.folder, settings))
    group.first_only(lambda: _clear(task.folder, is_finished=finished is not None))
    return finished


def conclude(
    task: TrainingTask,
    settings: dict[str, Any],
    data: FullData,
    group: Group,
    options: RunOptions,
    trainer: Trainer,
    training: FullTraining,
) -> Final:
    """Evaluate a training after its last step, and leave its result in the output folder."""
    errors = measure(training, data, group, options.stop_code)
    result = _result(task, settings, data, group, trainer, training, errors)
    group.first_only(lambda: _leave(task.folder, training.network, result))
    return result


def _finished(folder: Path, settings: dict[str, Any]) -> Final | None:
    result = full_result.read_result(folder)
    if result is not None:
        refuse_other_settings(folder / full_result.RESULT_NAME, result.details["settings"], settings)
    return result


def _clear(folder: Path, *, is_finished: bool) -> None:
    """Remove what killed processes left half-written, and of a finished training all that only its steps needed."""
    spent = half_written(folder) + full_result.half_written_results(folder)
    if is_finished:
        spent += folder.glob("images-*.txt")
    if is_finished and (folder / full_result.WEIGHTS_NAME).exists():
        spent += checkpoints(folder)
    for path in spent:
        path.unlink(missing_ok=True)


def open_data(task: TrainingTask, group: Group, options: RunOptions, reporter: Reporter) -> FullData:
    """The images of a training, on its device or read by loader processes."""
    recipe, rank_info = task.recipe, group.rank_info
    shard = Shard(recipe.batch, recipe.crop, task.seed, rank_info.rank, rank_info.world_size, group.device)
    if recipe.dataset == "imagenet":
        return _open_folder(task, shard, group, options, reporter)
    load = partial(load_final_data, recipe.dataset, recipe.data, image_px=recipe.image_px)
    prepared: list[str] = [""]
    group.first_only(lambda: prepared.append(load(options.download).fingerprint))  # prepares the files once
    fingerprint = group.share(prepared[-1])
    return group.together(lambda: ResidentData(load(fingerprint=fingerprint), shard))


def _open_folder(task: TrainingTask, shard: Shard, group: Group, options: RunOptions, reporter: Reporter) -> FullData:
    if not task.recipe.data:
        raise UsageError("--model imagenet needs --data FOLDER, the folder that holds train/ and val/")
    from hpcnas.training.data.imagenet import FolderData, loaders_per_rank  # torchvision takes seconds, CIFAR needs none of it

    data = Path(task.recipe.data)
    group.first_only(lambda: read_image_folder(data, task.folder))  # lists the files once, for all ranks and restarts
    loaders = loaders_per_rank(group.rank_info.local_size) if options.loaders is None else options.loaders
    return group.together(lambda: FolderData(*read_image_folder(data, task.folder), shard, loaders=loaders, log_line=reporter))


def measure(
    training: FullTraining, data: FullData, group: Group, stop_code: Callable[[], int] = lambda: 0
) -> tuple[float, float, int]:
    """Top-1 and top-5 error in percent on the test images, and how many could be read; every rank takes its share.

    Raises:
        StoppedBySignal: a signal came to any rank; the checkpoint of the last step is there.
        HpcnasError: not one could be read.
    """
    group.share_buffers(training.network)
    training.network.eval()
    counts = torch.zeros(3, dtype=torch.int64, device=group.device)  # read, right at first, right among five
    with torch.inference_mode(), training.autocast:
        for images, labels in _agreed(data.test_batches(), group, stop_code):
            best = training.network(images).float().topk(min(5, data.classes), dim=1).indices
            right = best == labels[:, None]
            counts += torch.stack([(labels >= 0).sum(), right[:, 0].sum(), right.any(dim=1).sum()])
    tested, first, five = group.total(counts).tolist()
    if not tested:
        raise HpcnasError("none of the test images could be read, so that there is no error to report; check the data set")
    return 100 * (1 - first / tested), 100 * (1 - five / tested), tested


def _agreed(batches: Iterator[Batch], group: Group, stop_code: Callable[[], int]) -> Iterator[Batch]:
    """This rank's batches; before each, all ranks agree to go on. A rank without more takes part until none has more."""
    while True:
        taken: list[Batch] = []
        failure = attempt(lambda: taken.extend(itertools.islice(batches, 1)))  # noqa: B023 - called at once
        code = agree(group, MORE if taken else 0, stop_code(), failure)
        if code > MORE:
            raise StoppedBySignal.by(code, "the evaluation after the last step")
        if not code:
            return
        yield from taken


def _result(
    task: TrainingTask,
    settings: dict[str, Any],
    data: FullData,
    group: Group,
    trainer: Trainer,
    training: FullTraining,
    errors: tuple[float, float, int],
) -> Final:
    top1, top5, tested = errors
    world, on_gpu = group.rank_info.world_size, group.device.type == "cuda"
    seconds = trainer.seconds
    return full_result.final_of(
        {
            "settings": settings,
            "digest": task.digest,
            "genotype": genotype_to_json(task.genotype),
            "individual_id": task.individual_id,
            "run": task.run,
            "seed": task.seed,
            "error_top1": top1,
            "error_top5": top5 if task.recipe.model == "imagenet" else None,
            "tested": tested,
            "skipped": data.skipped,
            "parameters": sum(parameter.numel() for parameter in training.network.parameters()),
            "train_loss": None if math.isnan(trainer.loss) else trainer.loss,
            "seconds": seconds,
            "images_per_s": trainer.images_per_s,
            "gpu_hours": seconds * world / 3600 if on_gpu else 0.0,
            "world_size": world,
            "micro_batch": training.micro_batch,
            "devices": f"{world} x {full_result.device_name(group.device)}",
            "restarts": trainer.restarts,
            "commit": full_result.source_commit(),
            "versions": full_result.versions(),
        }
    )


def _leave(folder: Path, network: nn.Module, result: Final) -> None:
    """Weights, then result.json, then the checkpoints go: whatever is killed in between, a restart ends the work."""
    if importlib.util.find_spec("safetensors"):
        header = full_result.weights_header(result)
        full_result.write_weights(folder / full_result.WEIGHTS_NAME, dict(network.state_dict()), header)
    full_result.write_result(folder, result)
    _clear(folder, is_finished=True)
