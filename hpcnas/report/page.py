"""The report as one HTML file: no server, no network, nothing beside it.

jinja2 escapes everything that comes from a run; the page's policy (Content-Security-Policy) forbids every request.
"""

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

from hpcnas import __version__
from hpcnas.config_file import config_toml
from hpcnas.errors import UsageError
from hpcnas.report.assemble import report_charts, report_tables
from hpcnas.report.charts.chart import AxesPanel, Chart
from hpcnas.report.charts.svg import legend_entries, panel_data, panel_svg
from hpcnas.report.drawing.content import draw
from hpcnas.report.drawing.text import drawing_text
from hpcnas.report.page_board import Board, board, failed_permanently, failures, lineage
from hpcnas.report.page_file import MARK, run_ids
from hpcnas.report.page_genotypes import page_genotypes
from hpcnas.report.tables.formatting import MISSING, duration, short_count, short_hours
from hpcnas.report.tables.search import NOTE, SETTINGS
from hpcnas.report.tables.table import Row
from hpcnas.report.views import Evaluation, RunRows
from hpcnas.representation.codec import genotype_from_json, genotype_to_json

SECTIONS = ("summary", "figures", "cells", "tables", "leaderboard", "lineage", "failures", "configuration", "versions")
PACKAGES = ("torch", "torchvision", "numpy", "submitit", "matplotlib", "jinja2")
SCRIPTS = ("core", "figures", "cell", "drawing", "board", "genotype", "runs", "live")  # in this order
FAILED_SHOWN = 100
AGAIN_S = 30.0  # until a page loads itself once more, if the next one was late


def write_page(runs: Sequence[RunRows], reload_s: float = 0.0) -> str:
    """The page about these runs as HTML.

    Args:
        reload_s: after how many seconds a head writes it anew, so that it loads itself again; 0: it stays as it is.
    Raises:
        UsageError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader
        from markupsafe import Markup
    except ImportError as error:
        raise UsageError("--format html needs the package jinja2; install it with `pip install jinja2`") from error
    environment = Environment(loader=PackageLoader("hpcnas.report", "page_assets"), autoescape=True, trim_blocks=True)
    charts = report_charts(runs)
    rows = board(runs)
    failed = failed_permanently(runs)
    now = time.time()
    live = {"written": now, "period": reload_s, "again": AGAIN_S} if reload_s else None
    return environment.get_template(
        "page.html.j2"
    ).render(
        title="hpcnas: " + ", ".join(run.name for run in runs),
        version=__version__,
        written=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now)),
        mark=MARK,
        run_ids=run_ids(runs),
        run_of=_run_of(runs),
        # Marked as safe, as these are hpcnas' own files and JSON without "<"; all else is escaped.
        css=Markup(_asset("page.css")),
        script=Markup("".join(_asset(f"{name}.js") for name in SCRIPTS)),
        data=Markup(_script_json(_data(runs, charts, rows) | {"live": live})),
        sections=[(name, name.capitalize()) for name in SECTIONS],
        runs=[_run(run) for run in runs],
        tables=report_tables(runs),
        below=(SETTINGS.key, NOTE.key),  # under their row, not in it: their texts are wider than a window
        charts=[_chart(chart, Markup, _run_numbers(runs)) for chart in charts if not chart.is_empty],
        left_out=[f"{chart.title}: nothing to draw. {chart.caption}" for chart in charts if chart.is_empty],
        cells=[_cell(index, run, run.best) for index, run in enumerate(runs) if run.best],
        board=rows,
        line=lineage(runs),
        failures=failures(runs),
        failed_permanently=failed[:FAILED_SHOWN],
        failed_more=max(0, len(failed) - FAILED_SHOWN),
        versions=_versions(runs),
    )


def _asset(name: str) -> str:
    return files("hpcnas.report").joinpath("page_assets", name).read_text(encoding="utf-8")


def _script_json(values: object) -> str:
    """JSON that no `</script>` or `<!--` inside a value can end."""
    return json.dumps(values, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")


def _data(runs: Sequence[RunRows], charts: Sequence[Chart], rows: Board) -> dict[str, Any]:
    numbers = _run_numbers(runs)
    drawn = [(chart, panel) for chart in charts for panel in chart.panels if not panel.is_empty]
    panels = {_panel_id(chart, panel): panel_data(panel, numbers) for chart, panel in drawn}
    genotypes = page_genotypes(runs, rows.listed)
    return {"runs": [run.label for run in runs], "rows": rows.rows, "panels": panels, **genotypes}


def _run_numbers(runs: Sequence[RunRows]) -> dict[str, int]:
    return {run.label: index for index, run in enumerate(runs)}


def _run_of(runs: Sequence[RunRows]) -> Callable[[Row], int | None]:
    """The place of the run that a row of a table is about; None for a published one."""
    numbers = _run_numbers(runs)
    return lambda row: next((numbers[name] for key in ("run", "source") if (name := row.values.get(key)) in numbers), None)


def _panel_id(chart: Chart, panel: AxesPanel) -> str:
    return f"{chart.name}-{chart.panels.index(panel)}"


def _chart(chart: Chart, markup: type, runs: Mapping[str, int]) -> dict[str, Any]:
    panels = [panel for panel in chart.panels if not panel.is_empty]
    drawn = [{"id": _panel_id(chart, panel), "title": panel.title, "svg": markup(panel_svg(panel, runs))} for panel in panels]
    legend = [
        {"label": entry.label, "run": runs.get(entry.run), "swatch": markup(entry.swatch)}
        for entry in legend_entries(panels, runs)
    ]
    return {"title": chart.title, "caption": chart.caption, "panels": drawn, "legend": legend}


def _run(run: RunRows) -> dict[str, Any]:
    best, hours = run.best, run.gpu_hours()
    times = (MISSING if hours is None else short_hours(hours), MISSING if run.seconds is None else duration(run.seconds))
    cards = [
        ("evaluated", f"{run.counts.evaluated:,} of {run.config.search.steps:,}"),
        ("best fitness (%), mean ± std (n)", str(best.fitness.scaled(100)) if best else MISSING),
        ("best genotype", f"{best.id:,} with {short_count(best.parameters)} parameters" if best else MISSING),
        ("GPU-hours, wall time", ", ".join(times)),
    ]
    return {
        "name": run.name,
        "label": run.label,
        "mark": run.fitness_note,
        "note": run.config.note,
        "cards": cards,
        "facts": _facts(run),
        "folder": run.folder,
        "toml": config_toml(run.config),
    }


def _facts(run: RunRows) -> str:
    """What else is worth knowing, as a sentence."""
    config, counts = run.config, run.counts
    trained = f" on {config.recipe.dataset}" if config.recipe.fitness == "train" else ""
    parts = [
        f"{config.search.algorithm.capitalize()} in the {config.space.kind} space{trained}",
        f"{counts.leased:,} running, {counts.queued:,} queued, {counts.failed:,} failed",
    ]
    if run.finals:
        parts.append(f"{len(run.finals):,} full-size trainings")
    if run.reused:
        parts.append(f"{run.reused:,} reused an earlier training, which saved {short_hours(run.saved_h)} GPU-hours")
    if run.waiting:
        parts.append(f"{run.waiting:,} waiting in the outbox")
    return "; ".join(parts) + "."


def _cell(index: int, run: RunRows, best: Evaluation) -> dict[str, Any]:
    genotype = genotype_from_json(run.genotypes[best.id])
    fitness = best.fitness.scaled(100)
    spread = "" if fitness.std is None else f" ± {fitness.std:.2f}"
    accuracy = f"{fitness.mean:.2f}{spread} % over {fitness.n} repeat{'s' * (fitness.n > 1)}"
    title = f"Genotype {best.id:,} of {run.label}: fitness {accuracy}"
    return {
        "run": index,
        "id": best.id,
        "title": title,
        "text": drawing_text(draw(genotype, title="Cell and motifs")),
        "json": genotype_to_json(genotype, indent=2),
    }


def _versions(runs: Sequence[RunRows]) -> list[tuple[str, str]]:
    devices = sorted({device for run in runs for device in run.devices})
    created = ", ".join(sorted({run.version for run in runs}))
    return [
        ("hpcnas (this report)", __version__),
        ("hpcnas (the runs)", created or MISSING),
        ("Python", platform.python_version()),
        *((package, _installed(package)) for package in PACKAGES),
        ("trained on", ", ".join(devices) or MISSING),
    ]


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return MISSING
