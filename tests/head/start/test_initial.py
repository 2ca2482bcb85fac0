"""Genotypes that a search begins with: from the paper, a file, another run; shown, kept, and refused if they do not fit."""

import json
from pathlib import Path

import pytest

from hpcnas.cli import main
from hpcnas.population.queries import Population
from hpcnas.report.read_run import read_run
from hpcnas.representation.codec import genotype_from_json, genotype_to_json
from hpcnas.representation.presets import PUBLISHED
from hpcnas.run_folder import RunFolder

HEAD = ["head", "--preset", "smoke", "--cluster", "debug", "--workers", "1", "--fitness", "synthetic", "--population", "6"]
HEAD += ["--nodes", "4,5"]  # the paper's, as that of its cell
FLAT = ["--space", "flat", "--motifs", "1", "--nodes", "11"]


def search(run: Path, *more: str, steps: int = 8) -> int:
    return main([*HEAD, "--steps", str(steps), "--run", str(run), *more])


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("initial") / "earlier"
    assert search(folder, steps=20) == 0
    return folder


def best_of(run: Path, number: int) -> list[str]:
    with Population.open(run) as population:
        rows = sorted(population.individuals("evaluated"), key=lambda one: (-(one.fitness or 0), one.id))
    return list(dict.fromkeys(one.genotype for one in rows))[:number]


def test_the_first_genotypes_are_those_of_the_sources_and_the_rest_is_bred(earlier: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(best_of(earlier, 5)[-1])
    run = tmp_path / "run"
    assert search(run, "--initial", f"{earlier}:top3", "--initial", "published", "--initial", str(file)) == 0
    with Population.open(run) as population:
        rows = population.individuals()
    expected = [*best_of(earlier, 3), genotype_to_json(PUBLISHED), best_of(earlier, 5)[-1]]
    assert [one.genotype for one in rows[:5]] == expected
    assert [one.mutation for one in rows[3:6]] == ["initial: published", f"initial: {file}", ""]
    assert all(one.mutation.startswith("initial: earlier ") and one.parent_id is None for one in rows[:3])
    assert len(rows) == 8
    assert read_run(RunFolder(run), "run").label == "run (synthetic, initial given)"


def test_a_run_keeps_what_its_sources_held_when_it_began(earlier: Path, tmp_path: Path) -> None:
    file, run = tmp_path / "mine.json", tmp_path / "run"
    file.write_text(genotype_to_json(PUBLISHED))
    assert search(run, "--initial", str(file), steps=1) == 0
    file.unlink()
    assert search(run, "--initial", str(file), steps=3) == 0
    assert search(run, steps=4) == 0
    with Population.open(run) as population:
        assert population.individual(1).genotype == genotype_to_json(PUBLISHED)
    assert search(run, "--initial", "published", steps=5) == 2


def test_the_best_of_a_run_is_its_name_alone_too(earlier: Path, tmp_path: Path) -> None:
    for name, source in (("a", str(earlier)), ("b", f"{earlier}:best")):
        assert search(tmp_path / name, "--initial", source, steps=1) == 0
        with Population.open(tmp_path / name) as population:
            assert [population.individual(1).genotype] == best_of(earlier, 1)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--initial", "nowhere.json"], "is no source; give published"),
        (["--initial", "published", *FLAT], "begin one of --space hierarchical --motifs 6,1 --nodes 4,5"),
        (["--initial", "EARLIER", *FLAT], "begin one of --space hierarchical --motifs 6,1 --nodes 4,5"),
        (["--initial", "EARLIER:top7"], "names 7 genotypes, more than --population 6"),
        (["--initial", "nowhere:top7"], "--initial nowhere:top7: nowhere holds no run; `hpcnas runs` lists"),
        (["--initial", "published", "--max-parameters", "5000"], "--initial published has "),
    ],
)
def test_what_cannot_be_begun_with_is_one_sentence_and_leaves_nothing(
    earlier: Path, tmp_path: Path, more: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(tmp_path / "run", *[word.replace("EARLIER", str(earlier)) for word in more]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_configuration_reads_back(earlier: Path, tmp_path: Path) -> None:
    assert search(tmp_path / "run", "--initial", f"{earlier}:top2", steps=1) == 0
    with Population.open(tmp_path / "run") as population:
        kept = population.config.search
    assert [json.loads(text) for text in kept.initial_genotypes] == [json.loads(text) for text in best_of(earlier, 2)]


def test_genotypes_of_the_papers_primitives_begin_a_search_with_more(
    earlier: Path, tmp_path: Path, own_primitives: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of own primitives is no source for one without them."""
    run, own = tmp_path / "run", ("--primitives", own_primitives)
    assert search(run, "--initial", f"{earlier}:top2", "--initial", "published", *own) == 0
    with Population.open(run) as population:
        rows = [genotype_from_json(one.genotype) for one in population.individuals()][:3]
        pool = population.config.space.pool
    assert len(pool) == 8
    assert rows == [genotype_from_json(text).over(pool) for text in (*best_of(earlier, 2), genotype_to_json(PUBLISHED))]
    assert search(tmp_path / "again", "--initial", str(run), *own, steps=1) == 0
    capsys.readouterr()
    assert search(tmp_path / "less", "--initial", str(run), steps=1) == 2
    assert "has the primitives of own_primitives; give --primitives own_primitives" in capsys.readouterr().err
