"""The examples in the docstrings of the public Python names are run."""

import doctest
import importlib
import subprocess
import sys
import types

import pytest

import hpcnas
from hpcnas.cli import main
from hpcnas.errors import UsageError


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder with a run in runs/demo, as `make demo` leaves one, but with a made-up fitness."""
    folder = tmp_path_factory.mktemp("api")
    arguments = ["--preset", "smoke", "--cluster", "debug", "--workers", "1", "--fitness", "synthetic"]
    assert main(["head", *arguments, "--run", str(folder / "runs/demo")]) == 0
    return folder


@pytest.mark.parametrize("name", ["hpcnas", "hpcnas.api", "hpcnas.population.queries"])
def test_docstring_examples_hold(name, demo, monkeypatch):
    monkeypatch.chdir(demo)
    module = importlib.import_module(name)
    public = {one: getattr(hpcnas, one) for one in hpcnas.__all__}
    result = doctest.testmod(module, optionflags=doctest.IGNORE_EXCEPTION_DETAIL, extraglobs=public)
    assert result.attempted > 0
    assert result.failed == 0


def test_importing_hpcnas_is_quick_and_needs_no_torch():
    """A worker imports hpcnas before it claims; build_network alone brings torch."""
    program = (
        "import hpcnas, sys; hpcnas.Genotype, hpcnas.load_genotype; assert not {'torch', 'numpy', 'typer'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_public_name_is_there_and_no_other():
    assert all(getattr(hpcnas, name) for name in hpcnas.__all__)
    assert set(hpcnas.__all__) <= set(dir(hpcnas))
    with pytest.raises(AttributeError, match="no attribute 'genotype'; its public names are"):
        _ = hpcnas.genotype


def test_rows_have_every_column(demo):
    with hpcnas.Population.open(demo / "runs/demo") as population:
        rows = population.rows("evaluated")
        (spread,) = {len(row["accuracies"]) for row in rows}
    assert spread == 2
    for row in rows:
        assert row["fitness"] == pytest.approx(sum(row["accuracies"]) / 2)
        assert row["std"] == pytest.approx(abs(row["accuracies"][0] - row["accuracies"][1]) / 2**0.5)


def test_a_frame_without_pandas_is_one_sentence(demo, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with hpcnas.Population.open(demo / "runs/demo") as population, pytest.raises(UsageError, match="pip install pandas"):
        population.frame()


def test_a_frame_has_the_id_as_index(demo, monkeypatch):
    """A stand-in for pandas, which is optional, sees what it is given."""
    given = {}

    class DataFrame:
        def __init__(self, rows, columns):
            given.update(rows=rows, columns=columns)

        def set_index(self, name):
            given["index"] = name
            return self

    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=DataFrame))
    with hpcnas.Population.open(demo / "runs/demo") as population:
        assert isinstance(population.frame(), DataFrame)
        assert given["rows"] == population.rows()
    assert given["index"] == "id"
    assert set(given["columns"]) == set(given["rows"][0])
