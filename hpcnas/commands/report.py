"""`hpcnas report` and `hpcnas export`: tables, figures and page of a search; files of a genotype."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpcnas.command_help import LOOK, TAKE_AWAY, add, shown
from hpcnas.commands.genotype_argument import GENOTYPE_HELP, PrimitivesOption
from hpcnas.commands.options import RunOption, terminal_width
from hpcnas.report.report_format import ReportFormat, format_of
from hpcnas.run_folder import RunFolder

if TYPE_CHECKING:
    from hpcnas.report.views import RunRows


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add(app, report)
    add(app, export)


@shown(LOOK, "hpcnas report --format html", "hpcnas report runs/first runs/second --figures figures")
def report(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Run folders, side by side; default: --run.")
    ] = None,
    run: RunOption = None,
    given: Annotated[
        ReportFormat | None,
        typer.Option(
            "--format",
            help="html writes RUN/report.html unless --out says where. [the ending of --out, else text]",
            show_default=False,
        ),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write every figure there as SVG, PDF, PNG and CSV.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report there instead of to the screen.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
) -> None:
    """The paper's Tables 1 to 3 and Figures 3 and 4 with your numbers in them."""
    from hpcnas.commands.final_record import take_in
    from hpcnas.report.assemble import write_report
    from hpcnas.report.files import refuse_existing, write_file
    from hpcnas.report.page_file import refuse_other
    from hpcnas.report.read_run import read_runs

    form = format_of(given, out)
    names: Sequence[str | None] = runs or [run]
    folders = _run_folders([RunFolder.from_option(name) for name in names])
    own_page = folders[0].page if form is ReportFormat.HTML and out is None else None
    # Refused before the runs are read: that takes a while for a large search.
    if out is not None:
        refuse_existing([out], force=force)
    for folder in folders:
        # Table 1 is to show full-size trainings that ended when no head ran.
        take_in(folder)
    rows = read_runs(folders)
    if own_page is not None and not force:
        refuse_other(own_page, rows)
    if figures is not None:
        _write_figures(rows, figures, force=force)
    target = out or own_page
    # Only a page that a head rewrites loads itself again in the browser; any other one would never change.
    reload_s = rows[0].config.cluster.page_every_s if own_page is not None and _is_rewritten(folders) else 0.0
    text = write_report(rows, form, terminal_width() if out is None else 0, reload_s)
    if target is None:
        sys.stdout.write(text)
    else:
        write_file(target, text)
        print(
            f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB)" if form is ReportFormat.HTML else f"wrote {target}",
            file=sys.stderr,
        )


@shown(TAKE_AWAY, "hpcnas export best --out best", "hpcnas export published --out published --model imagenet")
def export(
    genotype: Annotated[str, typer.Argument(metavar="GENOTYPE", help=GENOTYPE_HELP)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write into.")],
    run: RunOption = None,
    model: Annotated[
        str | None, typer.Option(metavar="small|cifar|imagenet", help="Default: what the weights are of, else cifar.")
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(metavar="C", help="c0, the width of the first cell. [the weights', else the run's or the paper's]"),
    ] = None,
    cells: Annotated[int | None, typer.Option(metavar="N", help="Cells of a group. [as c0]")] = None,
    classes: Annotated[int | None, typer.Option(help="[the weights', else the run's, else 10, or 1000 for imagenet]")] = None,
    in_channels: Annotated[
        int | None, typer.Option(help="3 for colour, 1 for grey images. [the weights', else the run's, else 3]")
    ] = None,
    tail: Annotated[
        str | None,
        typer.Option(
            metavar="none|stride1|stride2", help="Between the last cell and the pooling; default the weights', else none."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .safetensors or .pt file; default: the best full-size training on the data set."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="On which the weights of the run folder were trained. [the run's]")
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Also write model.onnx (needs the packages onnx and onnxscript).")
    ] = False,
    torch_export: Annotated[bool, typer.Option("--torch-export", help="Also write model.pt2, a torch.export program.")] = False,
    primitives: PrimitivesOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
) -> None:
    """A genotype as files that need no hpcnas: genotype.json, model.py (needs torch alone), its weights if there are any."""
    from hpcnas.commands.genotype_argument import recipe_of, resolve_genotype, use_own_primitives
    from hpcnas.export.bundle import ExportOptions, write_bundle
    from hpcnas.head.create import stored_config

    folder = RunFolder.from_option(run)
    found, individual_id = resolve_genotype(genotype, folder)
    use_own_primitives(found, primitives, folder)
    name = f"genotype {individual_id} of {folder.path.name}" if individual_id is not None else f"genotype {genotype}"
    asked = ExportOptions(model, channels, cells, classes, in_channels, tail, weights, dataset, onnx, torch_export)
    config = stored_config(folder)
    searched = config.recipe.dataset if config else None
    for line in write_bundle(found, name, asked, folder, out, recipe_of(individual_id, folder), searched, force=force):
        print(line)


def _write_figures(runs: "Sequence[RunRows]", folder: Path, *, force: bool) -> None:
    from hpcnas.report.assemble import report_charts
    from hpcnas.report.charts.plot import save_charts

    charts = report_charts(runs)
    paths = save_charts(charts, folder, force=force)
    print(f"wrote {len(paths)} files to {folder}", file=sys.stderr)
    for chart in charts:
        if chart.is_empty:
            print(f"left out {chart.name}, which would be empty: {chart.caption}", file=sys.stderr)


def _run_folders(given: "Sequence[RunFolder]") -> "list[RunFolder]":
    """Those of several folders that hold a run: `runs/*` names others too, and files."""
    found = [folder for folder in given if folder.config.is_file()]
    if not found:
        given[0].require()
    if len(found) < len(given):
        left = [folder.path.name for folder in given if folder not in found]
        print(f"left out, as they hold no run: {', '.join(left)}", file=sys.stderr)
    return found


def _is_rewritten(folders: "Sequence[RunFolder]") -> bool:
    """Whether a head writes the page of these runs anew."""
    from hpcnas.head.requests import running_head

    return len(folders) == 1 and bool(running_head(folders[0]))
