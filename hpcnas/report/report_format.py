"""The formats of a report; alone in a module so that the command line has them without loading any."""

from enum import StrEnum


class ReportFormat(StrEnum):
    """The formats of `hpcnas report --format`."""

    TEXT = "text"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"
    HTML = "html"
