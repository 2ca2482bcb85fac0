"""The formats of a report; alone in a module so that the command line knows them without loading any."""

from enum import StrEnum


class ReportFormat(StrEnum):
    """What `hpcnas report --format` writes."""

    TEXT = "text"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"
    HTML = "html"
