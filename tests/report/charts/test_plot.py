import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hpcnas.errors import UsageError
from hpcnas.report.assemble import report_charts
from hpcnas.report.charts.operations import operations_chart
from hpcnas.report.charts.plot import draw, save_charts
from hpcnas.report.read_run import read_runs
from tests.report.populations import make_run


@pytest.fixture
def charts(make_rows, make_finals):
    run = make_rows("hierarchical evolution", steps=300)
    finals = (*make_finals(1, (6.0, 6.2)), *make_finals(run.best.id, (4.0, 4.4)))
    runs = [
        make_rows("hierarchical evolution", steps=300, finals=finals),
        make_rows("flat evolution with a long name", steps=300, seed=1, space="flat"),
        make_rows("random", steps=300, seed=2, algorithm="random"),
    ]
    return report_charts(runs)


def test_every_figure_is_written_as_svg_pdf_png_and_csv(charts, tmp_path):
    paths = save_charts(charts, tmp_path / "figures")
    assert sorted(path.name for path in paths) == sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert len(paths) == 4 * 7
    for path in paths:
        start = path.read_bytes()[:64]
        assert start.startswith({".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG", ".csv": b"run,"}[path.suffix])


def test_the_same_data_gives_the_same_files(charts, tmp_path):
    save_charts(charts[:1], tmp_path / "a")
    save_charts(charts[:1], tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_figures_that_are_there_are_not_replaced_unasked(charts, tmp_path):
    (tmp_path / "figure4.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"figure4\.png is there already"):
        save_charts(charts, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["figure4.png"]
    save_charts(charts[:2], tmp_path, force=True)
    assert (tmp_path / "figure4.png").read_bytes() != b"mine"


def test_no_two_texts_of_a_figure_overlap(charts, tmp_path):
    """Titles, axis names, tick labels and legend, as drawn; and none is cut off at the edge."""
    operations = operations_chart(read_runs([make_run(tmp_path / name, 30) for name in ("evolution", "a longer name")]))
    for chart in (operations, *(chart for chart in charts if not chart.is_empty)):
        figure = draw(chart)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        texts = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)]
        texts += [label for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
        texts += [text for legend in figure.legends for text in legend.get_texts()]
        boxes = [
            (text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text() and text.get_visible()
        ]
        whole = figure.bbox
        shown = [(name, box) for name, box in boxes if (box.width and _is_inside(box, whole, 0.5)) or not _is_tick(name)]
        for name, box in shown:
            assert _is_inside(box, whole, 1.0), f"{chart.name}: {name!r} is cut off"
        for (one, a), (other, b) in itertools.combinations(shown, 2):
            if (_is_tick(one) and _is_tick(other)) or chart.name == "failures":
                continue
            assert not a.padded(-1).overlaps(b.padded(-1)), f"{chart.name}: {one!r} lies on {other!r}"


def _is_tick(text):
    return text.replace("−", "").replace(".", "").isdigit()


def _is_inside(box, whole, slack):
    return box.x0 >= -slack and box.y0 >= -slack and box.x1 <= whole.x1 + slack and box.y1 <= whole.y1 + slack


def test_runs_differ_without_colour(charts):
    """Line styles and markers, so that a print in grey can be read."""
    figure = draw(charts[0])
    handles = figure.legends[0].legend_handles
    assert len({handle.get_linestyle() for handle in handles}) == len(handles)
    assert len({handle.get_marker() for handle in handles}) == len(handles)
