"""Makes a run that is ready to search of a command: everything is checked before anything is made."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from hpcnas.cluster import Launcher, make_launcher
from hpcnas.cluster.signals import StopFlag
from hpcnas.config import RunConfig
from hpcnas.config_file import config_toml
from hpcnas.errors import DataError, StoppedBySignal
from hpcnas.head.breeder import Breeder, check_limit
from hpcnas.head.create import check_resumable, create_run, rewrite_config, stored_config
from hpcnas.head.initial import with_initial_genotypes
from hpcnas.head.log import log_to_file
from hpcnas.head.refill import RefillThread
from hpcnas.head.requests import drop_stops
from hpcnas.networks.own_primitives import with_primitives
from hpcnas.population import open_store
from hpcnas.population.protocol.outbox import merge_outbox
from hpcnas.population.protocol.secret import read_secret
from hpcnas.population.protocol.service import Service
from hpcnas.population.store import Store
from hpcnas.run_folder import RunFolder
from hpcnas.system.lock_file import LockFile, head_lock
from hpcnas.system.network import check_own
from hpcnas.training.fitness.evaluators import check_fitness

log = logging.getLogger(__name__)


@dataclass(slots=True)
class OpenRun:
    """A run under its lock and in a new epoch, with the thread that breeds when workers ask.

    Attributes:
        answering: the service, or where workers claim from the database themselves (PostgreSQL) the refill_thread.
    """

    folder: RunFolder
    config: RunConfig
    lock: LockFile
    store: Store
    breeder: Breeder
    launcher: Launcher
    answering: Service | RefillThread

    @property
    def is_done(self) -> bool:
        """Whether the run has all its genotypes already."""
        return self.store.counts().evaluated >= self.config.search.steps


@contextlib.contextmanager
def open_run(
    folder: RunFolder, config: RunConfig, *, download: bool = False, address: str = "", flag: StopFlag | None = None
) -> Iterator[OpenRun]:
    """Check, lock, make or resume; let go of everything at the end.

    Args:
        address: of this machine, which workers are to try first; "" for its name.
        flag: signals of this process; one that came during the checks, which may import torch, ends the start.

    Raises:
        HpcnasError: a refusal, with nothing left behind.
    """
    if address:
        check_own("--address", address)
    stored = _stored(folder, config)
    lock = head_lock(folder.lock)
    lock.check()  # at once: a function of the user may load data for minutes
    launcher, config, classes, in_channels = _checked(folder, config, stored, download)
    launcher.check(config.cluster.workers if stored is None else 1)  # a resumed run may have its workers already
    if flag is not None and flag.exit_code:
        raise StoppedBySignal.by(flag.exit_code, "the start")
    if stored is None:
        create_run(folder, config)
    lock.acquire()  # not before: nothing slow is done under a lock
    with contextlib.ExitStack() as stack:
        stack.callback(lock.release)
        log_to_file(folder, stack)
        store = open_store(folder, config)
        stack.callback(store.close)
        epoch = store.begin_epoch()
        _start_anew(folder, config, store, epoch)
        launcher.exclude(store.quarantined_hosts())
        breeder = Breeder(store, config, classes=classes, in_channels=in_channels)
        answer = partial(_serve, address) if config.store == "sqlite" else _feed
        yield OpenRun(folder, config, lock, store, breeder, launcher, answer(folder, store, breeder, epoch, stack))


def check_recipe(config: RunConfig, stored: RunConfig | None, *, download: bool = False) -> tuple[RunConfig, int, int]:
    """Check that workers will be able to evaluate: the data set is there and the run's, the fitness function can be imported.

    Returns:
        The configuration with what the data set says of itself; classes and input channels of the networks, (10, 3) when
        nothing is trained.
    Raises:
        UsageError: the fitness or data set is unknown; DataError: the data set is missing, damaged, or another one than the
            run's.
    """
    check_fitness(config.recipe.fitness)
    if config.recipe.fitness != "train":
        return config, 10, 3
    from hpcnas.training.data.arrays import check_sizes
    from hpcnas.training.data.prepare import changed, prepare  # numpy only with real training

    # Without the fingerprint: prepared images must not hide that their files have changed.
    prepared = prepare(config.recipe.dataset, config.recipe.data, download, image_px=config.recipe.image_px)
    began_with = stored.recipe.fingerprint if stored is not None else ""
    if began_with and began_with != prepared.fingerprint:
        raise DataError(changed(config.recipe.dataset, began_with, prepared.fingerprint))
    recipe = replace(
        config.recipe,
        fingerprint=prepared.fingerprint,
        classes=prepared.classes,
        in_channels=prepared.in_channels,
        side_px=prepared.side_px,
    )
    check_sizes(recipe.dataset, prepared.side_px, prepared.trained_on, crop=recipe.crop, batch=recipe.batch)
    return replace(config, recipe=recipe), recipe.classes, recipe.in_channels


def _stored(folder: RunFolder, config: RunConfig) -> RunConfig | None:
    """The configuration of the run, which `config` may go on with; None when there is no run yet."""
    stored = stored_config(folder)
    if stored is not None:
        check_resumable(folder, config, stored)
    return stored


def _checked(
    folder: RunFolder, config: RunConfig, stored: RunConfig | None, download: bool
) -> tuple[Launcher, RunConfig, int, int]:
    """Check what a start and its plan refuse alike; the launcher, and what check_recipe returns."""
    began_with = stored.space.primitives_fingerprint if stored is not None else ""
    config = replace(config, space=with_primitives(replace(config.space, primitives_fingerprint=began_with)))
    if stored is None:
        config = with_initial_genotypes(config)
    launcher = make_launcher(folder, config)
    config, classes, in_channels = check_recipe(config, stored, download=download)
    if stored is None:
        check_limit(config, classes, in_channels)
    return launcher, config, classes, in_channels


def show_plan(folder: RunFolder, config: RunConfig, *, download: bool = False) -> str:
    """The plan of a head: its configuration, and the script that would start its workers."""
    stored = _stored(folder, config)
    launcher, config, _, _ = _checked(folder, config, stored, download)
    verb = "resume" if stored is not None else "start"
    script = launcher.script(config.cluster.workers)
    return f"# would {verb} the run in {folder.path}\n\n{config_toml(config)}\n# workers:\n{script}"


def _start_anew(folder: RunFolder, config: RunConfig, store: Store, epoch: int) -> None:
    """Prepare the run as every head does first, in whatever state the one before it left it."""
    drop_stops(folder)
    store.set_draining(False)
    store.set_finished(store.counts().evaluated >= config.search.steps)
    store.set_config(config)
    rewrite_config(folder, config)
    merged = merge_outbox(folder, store)
    store.note("head", epoch=epoch, merged=merged, steps=config.search.steps, workers=config.cluster.workers)
    log.info("head of epoch %d, %d messages merged from the outbox", epoch, merged)


def _serve(address: str, folder: RunFolder, store: Store, breeder: Breeder, epoch: int, stack: contextlib.ExitStack) -> Service:
    service = Service(store, read_secret(folder), breeder.breed)
    stack.callback(service.stop)
    service.start()
    stack.callback(service.withdraw, folder, service.publish(folder, epoch, address))
    return service


def _feed(folder: RunFolder, store: Store, breeder: Breeder, epoch: int, stack: contextlib.ExitStack) -> RefillThread:
    refill_thread = RefillThread(store, breeder.breed)
    stack.callback(refill_thread.stop)
    refill_thread.start()
    return refill_thread
