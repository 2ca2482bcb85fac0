"""The whole report of one or more runs: its tables in any format, its charts."""

from collections.abc import Sequence

from hpcnas.report.charts.chart import Chart
from hpcnas.report.charts.cluster import failures_chart, noise_chart, throughput_chart, workers_chart
from hpcnas.report.charts.front import front_chart
from hpcnas.report.charts.operations import operations_chart
from hpcnas.report.charts.search import figure3, figure4
from hpcnas.report.report_format import ReportFormat
from hpcnas.report.tables import formats
from hpcnas.report.tables.paper import table1, table2, table3
from hpcnas.report.tables.search import search_table
from hpcnas.report.tables.table import Table
from hpcnas.report.tables.text import as_text
from hpcnas.report.views import RunRows


def report_tables(runs: Sequence[RunRows]) -> list[Table]:
    """The search's own table, then the paper's Tables 1 to 3."""
    return [search_table(runs), table1(runs), table2(runs), table3(runs)]


def report_charts(runs: Sequence[RunRows]) -> list[Chart]:
    """Figures 3 and 4 of the paper, accuracy against size, operations, then those of the cluster; some may be empty."""
    makers = (figure3, figure4, front_chart, operations_chart, workers_chart, throughput_chart, failures_chart, noise_chart)
    return [make(runs) for make in makers]


def write_report(runs: Sequence[RunRows], form: ReportFormat, width: int = 0, reload_s: float = 0.0) -> str:
    """The report as text of the given format.

    Args:
        width: of the terminal, 0 for as wide as it is.
        reload_s: of HTML: see write_page.
    Raises:
        UsageError: HTML without jinja2.
    """
    if form is ReportFormat.HTML:
        from hpcnas.report.page import write_page

        return write_page(runs, reload_s)
    if form is ReportFormat.TEXT:
        return as_text(report_tables(runs), width)
    writers = {
        ReportFormat.MARKDOWN: formats.as_markdown,
        ReportFormat.LATEX: formats.as_latex,
        ReportFormat.CSV: formats.as_csv,
        ReportFormat.JSON: formats.as_json,
    }
    return writers[form](report_tables(runs))
