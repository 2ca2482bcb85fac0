"""The terminal picture of a running search, as SVG: the panel of `hpcnas status --watch`, drawn by rich."""

import contextlib
import re
from io import StringIO
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from hpcnas.report.status import read_status
from hpcnas.report.status_view import status_picture
from hpcnas.run_folder import RunFolder

COLUMNS = 100  # more would make the letters small on a page
# rich's own format fetches a font from the network, which a page that is read without one may not do.
FONT_FACE = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)


def draw(run: Path, file: Path) -> None:
    """Write what `hpcnas status --watch` shows of a run whose head is running."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor")
    with contextlib.chdir(run.parent.parent):  # a path as a user has it: runs/NAME
        console.print(status_picture(read_status(RunFolder(run.relative_to(Path.cwd())), has_head=True)))
    text = console.export_svg(
        title="hpcnas status --watch", code_format=FONT_FACE.sub("", CONSOLE_SVG_FORMAT), unique_id="status"
    )
    file.write_text(text, encoding="utf-8")
