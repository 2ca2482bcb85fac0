"""Shows a status: plain text, or a rich picture for `status --watch`."""

from typing import TYPE_CHECKING

from hpcnas.report.quoting import one_line
from hpcnas.report.status import RunStatus
from hpcnas.system.durations import duration

if TYPE_CHECKING:
    from rich.panel import Panel

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60
MOST_HOSTS = 12


def status_text(status: RunStatus) -> str:
    """A few lines, readable in a log."""
    lines = [f"{name + ':':<11}{value}" for name, value in _rows(status)]
    return "\n".join(lines)


def status_picture(status: RunStatus) -> "Panel":
    """A panel with a progress bar and a sparkline."""
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("", ProgressBar(total=status.steps, completed=status.evaluated, width=WIDTH))
    for name, value in _rows(status):  # as Text: rich takes [brackets] in a path or a name for markup
        table.add_row(name, Text(value), style="yellow" if name in ("failed", "quarantined", "waiting") else None)
    if len(status.curve) > 1:
        table.add_row("best so far", sparkline(status.curve))
        table.add_row("", f"{100 * status.curve[0]:.2f} % at the first, {100 * status.curve[-1]:.2f} % now")
    return Panel(table, title=Text(f"hpcnas {status.run}"), title_align="left", expand=False)


def sparkline(curve: tuple[float, ...], width: int = WIDTH) -> str:
    """One character per `width`-th of the curve, its lowest value the lowest bar."""
    # `or 1`: a curve of one point has no length to divide by.
    points = [curve[round(k * (len(curve) - 1) / (min(width, len(curve)) - 1 or 1))] for k in range(min(width, len(curve)))]
    low, span = min(points), max(points) - min(points)
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1)) if span else 0] for value in points)


def _rows(status: RunStatus) -> list[tuple[str, str]]:
    synthetic = " (synthetic fitness)" if status.fitness.startswith("synthetic") else ""
    rows = [
        ("run", status.run),
        *([("note", one_line(status.note))] if status.note else []),
        ("state", status.state),
        ("search", f"{status.search} in the {status.space} space{synthetic}"),
        ("evaluated", f"{status.evaluated} of {status.steps}"),
        *([("reused", _reused(status))] if status.reused else []),
        ("now", f"{status.leased} in training, {status.queued} queued"),
    ]
    if status.failed:
        rows.append(("failed", f"{status.failed} given up; see `hpcnas failures`"))
    rows.append(("workers", _workers(status) + _hosts(status)))
    if status.pending:
        rows.append(("waiting", ", ".join(f"{count} for {reason}" for reason, count in status.pending)))
    if status.quarantined:
        rows.append(("quarantined", ", ".join(status.quarantined)))
    if status.outbox:
        rows.append(("outbox", f"{status.outbox} waiting for the next head, not counted yet"))
    if status.best is not None:
        rows.append(("best", f"{100 * status.best[1]:.2f} %, genotype {status.best[0]}"))
    if status.eta_s is not None:
        rows.append(("ETA", duration(status.eta_s)))
    rows.append(("time", f"{duration(status.seconds)} since the start, {status.gpu_seconds / 3600:.2f} GPU-hours of attempts"))
    return rows


def _reused(status: RunStatus) -> str:
    share = status.reused / status.evaluated
    return f"{status.reused} of them ({share:.0%}) had been trained before, which saved {status.saved_s / 3600:.2f} GPU-hours"


def _workers(status: RunStatus) -> str:
    if status.state == "running":
        return f"{status.live} of {status.wanted}"
    return f"{status.live}, none wanted" if status.live else "none"


def _hosts(status: RunStatus) -> str:
    if not status.hosts:
        return ""
    shown = [f"{host} {count}" for host, count in status.hosts[:MOST_HOSTS]]
    more = len(status.hosts) - MOST_HOSTS
    return f" ({', '.join(shown)}" + (f" and {more} more machines)" if more > 0 else ")")
