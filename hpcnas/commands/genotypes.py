"""The command that shows a genotype: show."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from hpcnas.command_help import LOOK, add, shown
from hpcnas.commands.genotype_argument import GENOTYPE_HELP, PrimitivesOption, resolve_genotype, use_own_primitives
from hpcnas.commands.options import RunOption
from hpcnas.errors import UsageError, check_one_of
from hpcnas.representation.genotype import Genotype
from hpcnas.run_folder import RunFolder

FORMATS = ("text", "svg", "png", "pdf", "dot", "json")
ENDINGS = {".txt": "text", ".gv": "dot"} | {f".{form}": form for form in FORMATS if form != "text"}


def register(app: typer.Typer) -> None:
    """Add show."""
    add(app, show)


@shown(LOOK, "hpcnas show best", "hpcnas show 17 --out cell.svg")
def show(
    genotype: Annotated[str, typer.Argument(metavar="GENOTYPE", help=GENOTYPE_HELP)],
    run: RunOption = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="text, svg, png, pdf, dot or json. [the ending of --out, else text]", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write there instead of the terminal.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Only what is part of the network, with the channels of every node.")
    ] = False,
    all_motifs: Annotated[bool, typer.Option("--all-motifs", help="Draw the motifs that the cell does not use, too.")] = False,
    lineage: Annotated[
        bool, typer.Option("--lineage", help="The mutations from its first ancestor on, each with its fitness; needs an id.")
    ] = False,
    primitives: PrimitivesOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
) -> None:
    """Draw the cell of a genotype and its motifs, or where it comes from."""
    kind = _format(format_, out)
    if out is not None and out.exists() and not force:
        raise UsageError(f"{out} is there already; choose another name, or give --force to overwrite it")
    if kind in ("png", "pdf") and out is None and sys.stdout.isatty():
        raise UsageError(f"a {kind} image does not belong on a terminal; give --out FILE.{kind}")
    folder = RunFolder.from_option(run)
    if lineage:
        _write(_lineage(genotype, folder, kind), out)
        return
    found, individual_id = resolve_genotype(genotype, folder)
    if live:
        use_own_primitives(found, primitives, folder)
    name = genotype if individual_id is None else f"genotype {individual_id}"
    _write(_drawing(found, name, kind, live=live, all_motifs=all_motifs), out)


def _format(given: str | None, out: Path | None) -> str:
    ending = out.suffix.lower() if out else ""
    kind = given or (ENDINGS.get(ending) if ending else "text")
    if kind is None:
        raise UsageError(f"--out {out}: {ending} is no ending of a drawing; end it in {', '.join(ENDINGS)}, or give --format")
    check_one_of("--format", kind, FORMATS)
    return kind


def _drawing(genotype: Genotype, name: str, kind: str, *, live: bool, all_motifs: bool) -> bytes:
    if kind == "json":
        from hpcnas.representation.codec import genotype_to_json
        from hpcnas.representation.live import pruned

        return (genotype_to_json(pruned(genotype) if live else genotype, indent=2) + "\n").encode()
    from hpcnas.report.drawing.content import draw

    title = f"{name}, {genotype.space}{', what is live' if live else ''}"
    drawing = draw(genotype, title=title, live=live, all_motifs=all_motifs or kind == "text")
    if kind == "text":
        from hpcnas.report.drawing.text import drawing_text

        # $COLUMNS counts for a terminal alone: a shell may export it, and a file should look the same from every window.
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
        return drawing_text(drawing, max(40, columns)).encode()
    if kind == "dot":
        from hpcnas.report.drawing.dot import drawing_dot

        return drawing_dot(drawing).encode()
    from hpcnas.report.drawing.figure import drawing_image  # matplotlib, half a second

    return drawing_image(drawing, kind)


def _lineage(text: str, folder: RunFolder, kind: str) -> bytes:
    from hpcnas.population.queries import Population
    from hpcnas.report.lineage import lineage, lineage_dot, lineage_image, lineage_json, lineage_text

    if text != "best" and not text.isdecimal():
        raise UsageError(f"{text} has no lineage; --lineage goes with an id of the run, or best")
    _, individual_id = resolve_genotype(text, folder)
    assert individual_id is not None, "best and ids are genotypes of the run"
    with Population.open(folder) as population:
        chain = lineage(individual_id, population.individual)
    if kind in ("svg", "png", "pdf"):
        return lineage_image(chain, kind)
    return {"text": lineage_text, "json": lineage_json, "dot": lineage_dot}[kind](chain).encode()


def _write(shown: bytes, out: Path | None) -> None:
    if out is None:
        # Bytes go past the text layer of stdout; what it still holds would come after them.
        sys.stdout.flush()
        sys.stdout.buffer.write(shown)
        return
    try:
        out.write_bytes(shown)
    except OSError as error:
        raise UsageError(
            f"cannot write {out}: {error.strerror}; give a file in a folder that exists and may be written"
        ) from error
