"""Drawings and charts do not depend on the user's matplotlib: own settings, any backend, any text."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from hpcnas.report.charts.chart import AxesPanel, Chart, Series
from hpcnas.report.charts.plot import save_charts
from hpcnas.report.drawing.content import draw
from hpcnas.report.drawing.figure import drawing_image, drawing_svg
from hpcnas.representation.presets import PUBLISHED

STRANGE = "$HOME/a$b {x} \\frac %_&^~"


@pytest.fixture
def users_settings():
    """What a user's matplotlibrc may hold; no LaTeX is installed here."""
    with mpl.rc_context({"text.usetex": True, "font.family": "monospace", "svg.fonttype": "path", "lines.linewidth": 9}):
        yield


def chart() -> Chart:
    panel = AxesPanel(STRANGE, STRANGE, STRANGE, (Series(STRANGE, (1.0, 2.0), (1.0, 2.0)),))
    return Chart("figure", STRANGE, STRANGE, (panel,), ("run",), ((STRANGE,),))


def test_charts_and_drawings_are_the_same_whatever_the_user_has_set(tmp_path: Path, users_settings: None) -> None:
    paths = save_charts([chart()], tmp_path / "theirs")
    drawn = drawing_svg(draw(PUBLISHED)), drawing_image(draw(PUBLISHED), "png")
    assert mpl.rcParams["text.usetex"]
    with mpl.rc_context():
        mpl.rcdefaults()
        save_charts([chart()], tmp_path / "plain")
        assert drawn == (drawing_svg(draw(PUBLISHED)), drawing_image(draw(PUBLISHED), "png"))
    for path in paths:
        assert path.read_bytes() == (tmp_path / "plain" / path.name).read_bytes()


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "module://not_there", "nonsense", "qtagg"])
def test_no_backend_of_the_environment_ends_a_drawing(tmp_path: Path, backend: str) -> None:
    target = tmp_path / "cell.png"
    command = [sys.executable, "-m", "hpcnas", "show", "published", "--format", "png", "--out", str(target)]
    done = subprocess.run(command, env={**os.environ, "MPLBACKEND": backend}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert target.read_bytes().startswith(b"\x89PNG")
