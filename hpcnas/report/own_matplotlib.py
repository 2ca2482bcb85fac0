"""matplotlib as the report uses it: no window, and none of the user's own settings. Only this module imports it.

Texts of a run (folders, names) are data: a user's `text.usetex`, or a `$` read as the start of a formula, would end a report.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from hpcnas.system.home import cache_folder, has_home

if not has_home():  # else matplotlib complains of it in many words
    with contextlib.suppress(PermissionError):  # somebody else's folder among the temporary files: then it may complain
        os.environ.setdefault("MPLCONFIGDIR", str(cache_folder("matplotlib")))

# A notebook's or a user's backend may not be installed here, and matplotlib refuses an unknown one when it is imported.
_backend = os.environ.pop("MPLBACKEND", None)

import matplotlib as mpl  # noqa: E402 - after the backend has been set aside
from matplotlib.artist import Artist  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402
from matplotlib.patches import FancyBboxPatch, Patch, PathPatch, Polygon  # noqa: E402
from matplotlib.path import Path as Curve  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

if _backend is not None:
    os.environ["MPLBACKEND"] = _backend
    with contextlib.suppress(ValueError):  # who draws with pyplot in this process gets the backend that was asked for
        mpl.rcParams["backend"] = _backend

__all__ = [
    "Artist",
    "Axes",
    "Curve",
    "FancyBboxPatch",
    "Figure",
    "Line2D",
    "MaxNLocator",
    "Patch",
    "PathPatch",
    "Polygon",
    "own_settings",
]


@contextlib.contextmanager
def own_settings(**settings: Any) -> Iterator[None]:
    """Draw and save inside: matplotlib's defaults with ours over them; the user's are back afterwards.

    Args:
        settings: rcParams with _ in the place of the dot after the group, as svg_fonttype="none".
    """
    ours: dict[Any, Any] = {"text.parse_math": False, "text.usetex": False, "svg.hashsalt": "hpcnas"}
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(ours | {name.replace("_", ".", 1): value for name, value in settings.items()})
        yield
