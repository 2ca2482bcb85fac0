"""The formats of a report; alone in a module so that the command line has them without loading any."""

from enum import StrEnum
from pathlib import Path

from hpcnas.errors import UsageError


class ReportFormat(StrEnum):
    """The formats of `hpcnas report --format`."""

    TEXT = "text"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


_ENDINGS = {
    ".txt": ReportFormat.TEXT,
    ".md": ReportFormat.MARKDOWN,
    ".tex": ReportFormat.LATEX,
    ".csv": ReportFormat.CSV,
    ".json": ReportFormat.JSON,
    ".html": ReportFormat.HTML,
}


def format_of(given: ReportFormat | None, out: Path | None) -> ReportFormat:
    """The format that was given, else that of the ending of `out`; text where neither says one.

    Raises:
        UsageError: `out` has an ending that no format has, and none was given.
    """
    if given is not None or out is None or not out.suffix:
        return given or ReportFormat.TEXT
    found = _ENDINGS.get(out.suffix.lower())
    if found is None:
        raise UsageError(
            f"--out {out}: {out.suffix} is no ending of a report; end it in {', '.join(_ENDINGS)}, or give --format"
        )
    return found
