"""How many files one reads to follow one thing: the figures that docs/design.md gives may fall, not rise."""

from tests.walks import full_size_result, genotype_to_fitness


def test_a_genotype_becomes_a_recorded_fitness_in_at_most_28_files():
    walk = genotype_to_fitness()
    assert 10 < walk.figures["files"] <= 28, walk.files


def test_a_full_size_result_has_at_most_four_shapes_on_its_way_to_a_table():
    walk = full_size_result()
    assert 2 <= walk.figures["shapes"] <= 4, walk.files
