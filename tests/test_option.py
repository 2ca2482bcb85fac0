"""Options: each is written once, its bounds and choices are refused by name, and every number of a run has one."""

from dataclasses import fields, replace
from typing import Any

import pytest

from hpcnas.cluster.slurm.job_shape import JobShape
from hpcnas.config import OF_INITIAL, OF_PRIMITIVES, OF_THE_DATA, ClusterConfig, RecipeConfig, RunConfig, SearchConfig
from hpcnas.errors import UsageError
from hpcnas.option import Option, options_of
from hpcnas.representation.space import SearchSpace
from hpcnas.training.full_size.recipe import FullRecipe
from tests.walks import one_option

CLASSES = (SearchSpace, SearchConfig, RecipeConfig, ClusterConfig, FullRecipe, JobShape)
OPTIONS = [(kind, one) for kind in CLASSES for one in options_of(kind)]


def by_name(value: Any) -> str:
    return value.name if isinstance(value, Option) else value.__name__


def outside(one: Option) -> list[float]:
    """Numbers just beyond the bounds of an option."""
    step = 1 if (one.item or one.kind) is int else 0.001
    below = [bound - less for bound, less in ((one.least, step), (one.above, 0)) if bound is not None]
    return below + [bound + more for bound, more in ((one.most, step), (one.below, 0)) if bound is not None]


def test_an_option_is_written_in_one_place_and_read_in_few() -> None:
    figures = one_option().figures
    assert figures["written in places"] == 1
    assert 1 <= figures["read in files"] <= 8


@pytest.mark.parametrize(("kind", "one"), [pair for pair in OPTIONS if outside(pair[1])], ids=by_name)
def test_a_number_out_of_bounds_is_refused_by_the_name_of_its_option(kind: type, one: Option) -> None:
    for number in outside(one):
        with pytest.raises(UsageError, match=f"^{one.flag} "):
            replace(kind(), **{one.field: (number,) if one.item else number})


@pytest.mark.parametrize(("kind", "one"), [pair for pair in OPTIONS if pair[1].choices], ids=by_name)
def test_a_word_that_is_no_choice_is_answered_by_all_that_are(kind: type, one: Option) -> None:
    with pytest.raises(
        UsageError, match=f"^{one.flag} ? is unknown; choose one of {', '.join(one.choices)}$".replace("?", "nothing")
    ):
        replace(kind(), **{one.field: "nothing"})


@pytest.mark.parametrize("kind", CLASSES, ids=by_name)
def test_every_setting_is_an_option_but_what_is_found_when_the_run_begins(kind: type) -> None:
    without = {one.name for one in fields(kind)} - {one.field for one in options_of(kind)}
    assert without == {RecipeConfig: set(OF_THE_DATA), SearchConfig: set(OF_INITIAL), SearchSpace: set(OF_PRIMITIVES)}.get(
        kind, set()
    )


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        ("search", "steps", "many", "a whole number"),
        ("search", "steps", 2.5, "a whole number"),
        ("search", "steps", True, "a whole number"),
        ("search", "tournament", "0.1", "a number"),
        ("search", "algorithm", "genetic", "one of evolution, random"),
        ("space", "motifs", [1, "x"], "a list of whole numbers"),
        ("space", "max_parameters", "x", "a whole number"),
        ("recipe", "milestones", 0.5, "a list of numbers"),
        ("recipe", "data", 3, "a text"),
        ("cluster", "setup", "module load", "a list of texts"),
    ],
)
def test_a_value_of_another_type_is_answered_by_the_type_that_is_allowed(
    section: str, key: str, value: object, allowed: str
) -> None:
    with pytest.raises(UsageError) as refused:
        RunConfig.from_dict({section: {key: value}})
    assert str(refused.value) == f"{section}.{key} = {value!r} must be {allowed}"


def test_whole_numbers_serve_where_numbers_are_asked_for() -> None:
    config = RunConfig.from_dict({"search": {"tournament": 1}, "recipe": {"milestones": [1]}})
    assert (config.search.tournament, config.recipe.milestones) == (1.0, (1.0,))
    assert all(type(number) is float for number in (config.search.tournament, *config.recipe.milestones))
