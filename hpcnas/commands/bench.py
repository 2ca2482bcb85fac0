"""The commands that measure this machine: bench train, store, loader, startup."""

import json
from typing import Annotated, Any

import typer

from hpcnas.command_help import MEASURE, ShownGroup, add, shown
from hpcnas.networks.blueprint import Model

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: machine, versions, rows, summary.")]


def register(app: typer.Typer) -> None:
    """Add bench with its four commands."""
    bench = typer.Typer(help="Measure this machine.", cls=ShownGroup, add_completion=False)
    add(bench, train)
    add(bench, store)
    add(bench, loader)
    add(bench, startup)
    app.add_typer(bench, name="bench", rich_help_panel=MEASURE)


@shown(None, "hpcnas bench train", "hpcnas bench train --device cuda --model imagenet")
def train(
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda or cuda:N; a GPU also shows each lever's share.")
    ] = "cpu",
    model: Annotated[Model, typer.Option("--model", help="Whose network is trained.")] = "small",
    channels: Annotated[int | None, typer.Option("--channels", help="c0 (default: the model's).")] = None,
    only: Annotated[
        str,
        typer.Option(
            "--only", help="Genotypes of the bench, separated by commas: sparse, dense, random1..6, published, flat1..3."
        ),
    ] = "",
    rounds: Annotated[int, typer.Option("--rounds", help="Measured steps of each variant.")] = 5,
    batch: Annotated[int | None, typer.Option("--batch", help="Images of a step (default 256; imagenet 64).")] = None,
    image_px: Annotated[int | None, typer.Option("--image-px", help="Side of an image (default 24; imagenet 299).")] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="Threads on the CPU (default: torch's choice).")] = None,
    profile: Annotated[bool, typer.Option("--profile", help="On a GPU: what each kind of kernel takes.")] = False,
    as_json: AsJson = False,
) -> None:
    """The training step: reference network against the fast one."""
    from hpcnas.benchmarks.train import run, text

    is_large = model == "imagenet"
    report = run(
        device=device,
        model=model,
        names=[name.strip() for name in only.split(",") if name.strip()],
        rounds=rounds,
        # The search's own batch and crop (paper, section 4.1); ImageNet's images are as large as in a full-size training.
        batch=batch if batch is not None else 64 if is_large else 256,
        image_px=image_px if image_px is not None else 299 if is_large else 24,
        channels=channels,
        threads=threads,
        profile=profile,
    )
    _show(report, text(report), as_json)


@shown(None, "hpcnas bench store", "hpcnas bench store --json")
def store(
    postgres: Annotated[
        str, typer.Option("--postgres", help="Measure this server too: postgresql://USER@HOST:PORT/DATABASE.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Claims, results and breeding: the population's store and the head's service."""
    from hpcnas.benchmarks.store import run
    from hpcnas.benchmarks.store_text import text
    from hpcnas.head.breeder import Breeder

    # Given from here: benchmarks stand beside the head and may not import it (docs/design.md, section 1).
    report = run(lambda store, config: Breeder(store, config).breed, postgres=postgres, log_line=_log_line)
    _show(report, text(report), as_json)


@shown(None, "hpcnas bench loader", "hpcnas bench loader --json")
def loader(as_json: AsJson = False) -> None:
    """Image loading, against torchvision's pipeline."""
    from hpcnas.benchmarks.loader import run, text

    report = run()
    _show(report, text(report), as_json)


@shown(None, "hpcnas bench startup", "hpcnas bench startup --json")
def startup(
    starts: Annotated[int, typer.Option("--starts", metavar="N", help="Starts of each process.")] = 9,
    dataset: Annotated[
        str, typer.Option("--dataset", help="Measure a worker too that trains on it, as digits; on the CPU.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """From the start of a command to its end, and of a worker to its first claim."""
    from hpcnas.benchmarks.startup import run, text
    from hpcnas.errors import check_at_least

    check_at_least("--starts", starts, 1)
    report = run(starts, dataset=dataset)
    _show(report, text(report), as_json)


def _show(report: dict[str, Any], table: str, as_json: bool) -> None:
    typer.echo(json.dumps(report, indent=2) if as_json else table)


def _log_line(what: str) -> None:
    # The store's bench takes minutes. stdout is left to the table or the JSON.
    typer.echo(f"measuring: {what}", err=True)
