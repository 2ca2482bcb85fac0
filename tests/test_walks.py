"""How many files one reads to follow one thing: the figures that docs/design.md gives may fall, not rise."""

from tests.walks import claim_and_answer, full_size_result, genotype_to_fitness, one_option


def test_a_claim_and_its_answer_go_through_ten_files() -> None:
    """The least of three, as a backup may be under way in one of them."""
    walks = [claim_and_answer() for _ in range(3)]
    least = min(walks, key=lambda walk: walk.figures["files"])
    assert least.figures["files"] <= 10, least.files


def test_a_genotype_becomes_a_recorded_fitness_in_at_most_28_files() -> None:
    walk = genotype_to_fitness()
    assert 10 < walk.figures["files"] <= 28, walk.files


def test_an_option_is_written_once_and_read_in_few_files() -> None:
    walk = one_option()
    assert walk.figures["written in places"] == 1, walk.files
    assert 1 <= walk.figures["read in files"] <= 8


def test_a_full_size_result_has_at_most_four_shapes_on_its_way_to_a_table() -> None:
    walk = full_size_result()
    assert 2 <= walk.figures["shapes"] <= 4, walk.files
