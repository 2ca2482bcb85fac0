"""The report as one HTML file: no server, no network, nothing beside it.

jinja2 escapes everything that comes from a run; the page's policy (Content-Security-Policy) forbids every request.
"""

import base64
import json
import platform
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

from hpcnas import __version__
from hpcnas.config_file import config_toml
from hpcnas.errors import UsageError
from hpcnas.report.assemble import report_charts, report_tables
from hpcnas.report.charts.chart import AxesPanel, Chart
from hpcnas.report.charts.svg import legend_swatch, panel_data, panel_svg
from hpcnas.report.drawing.content import draw
from hpcnas.report.drawing.figure import drawing_svg
from hpcnas.report.drawing.text import drawing_text
from hpcnas.report.page_board import board, failed_permanently, failures, lineage
from hpcnas.report.tables.formatting import MISSING, duration, short_count, short_hours
from hpcnas.report.views import RunRows
from hpcnas.representation.codec import genotype_from_json, genotype_to_json

SECTIONS = ("summary", "figures", "cells", "tables", "leaderboard", "lineage", "failures", "configuration", "versions")
PACKAGES = ("torch", "torchvision", "numpy", "submitit", "matplotlib", "jinja2")
FAILED_SHOWN = 100


def write_page(runs: Sequence[RunRows]) -> str:
    """The page about these runs as HTML.

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
    return environment.get_template("page.html.j2").render(
        title="hpcnas: " + ", ".join(run.name for run in runs),
        version=__version__,
        written=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        css=Markup(_asset("page.css")),
        script=Markup(_asset("page.js")),
        data=Markup(_script_json(_data(runs, charts, rows.rows))),
        sections=[(name, name.capitalize()) for name in SECTIONS],
        runs=[_run(run) for run in runs],
        tables=report_tables(runs),
        charts=[_chart(chart, Markup) for chart in charts if not chart.is_empty],
        left_out=[f"{chart.title}: nothing to draw. {chart.caption}" for chart in charts if chart.is_empty],
        cells=[cell for run in runs if (cell := _cell(run))],
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


def _data(runs: Sequence[RunRows], charts: Sequence[Chart], rows: Sequence[Sequence[object]]) -> dict[str, Any]:
    panels = {_panel_id(chart, panel): panel_data(panel) for chart in charts for panel in chart.panels if not panel.is_empty}
    return {"runs": [run.label for run in runs], "rows": rows, "panels": panels}


def _panel_id(chart: Chart, panel: AxesPanel) -> str:
    return f"{chart.name}-{chart.panels.index(panel)}"


def _chart(chart: Chart, markup: type) -> dict[str, Any]:
    panels = [panel for panel in chart.panels if not panel.is_empty]
    drawn = [{"id": _panel_id(chart, panel), "title": panel.title, "svg": markup(panel_svg(panel))} for panel in panels]
    styles: dict[str, tuple[int, set[str]]] = {}
    for panel in panels:
        for index, series in enumerate(panel.series):
            styles.setdefault(series.label, (index, set()))[1].add(series.style)
    legend = [{"label": label, "swatch": markup(legend_swatch(index, used))} for label, (index, used) in styles.items()]
    return {"title": chart.title, "caption": chart.caption, "panels": drawn, "legend": legend}


def _run(run: RunRows) -> dict[str, Any]:
    best, config, hours, seconds = run.best, run.config, run.gpu_hours(), run.seconds
    cards = [
        ("space", config.space.kind),
        ("search", config.search.algorithm),
        ("data set", config.recipe.dataset if config.recipe.fitness == "train" else MISSING),
        ("evaluated", f"{run.counts.evaluated:,} of {config.search.steps:,}"),
        ("running, queued, failed", f"{run.counts.leased:,}, {run.counts.queued:,}, {run.counts.failed:,}"),
        ("best fitness (%), mean ± std (n)", str(best.fitness.scaled(100)) if best else MISSING),
        ("best genotype", f"{best.id:,} with {short_count(best.parameters)} parameters" if best else MISSING),
        ("GPU-hours", MISSING if hours is None else short_hours(hours)),
        ("wall time", MISSING if seconds is None else duration(seconds)),
        ("full-size trainings", f"{len(run.finals):,}"),
    ]
    if run.reused:
        cards.append(("reused, GPU-hours saved", f"{run.reused:,}, {short_hours(run.saved_h)}"))
    if run.waiting:
        cards.append(("waiting in the outbox", f"{run.waiting:,}"))
    return {"name": run.name, "note": run.fitness_note, "cards": cards, "folder": run.folder, "toml": config_toml(config)}


def _cell(run: RunRows) -> dict[str, str] | None:
    if run.best is None:
        return None
    genotype = genotype_from_json(run.best_genotype)
    fitness = run.best.fitness.scaled(100)
    spread = "" if fitness.std is None else f" ± {fitness.std:.2f}"
    accuracy = f"{fitness.mean:.2f}{spread} % over {fitness.n} repeat{'s' * (fitness.n > 1)}"
    title = f"Genotype {run.best.id:,} of {run.label}: fitness {accuracy}"
    drawing = draw(genotype, title="Cell and motifs")
    picture = base64.b64encode(drawing_svg(drawing).encode()).decode("ascii")
    return {
        "title": title,
        "picture": f"data:image/svg+xml;base64,{picture}",
        "text": drawing_text(drawing),
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
