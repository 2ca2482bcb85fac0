"""The table of genotypes on terminals of any width."""

from dataclasses import replace

from hpcnas.records import Individual, State
from hpcnas.report.leaderboard import population_text

MUTATION = "level 2 motif 1: 1-2 separable3x3 -> depthwise3x3"
ROW = Individual(
    100, "d", "{}", 98, MUTATION, 100, 550_000, State.EVALUATED, 1, "w", 0, 0, 0, "", 1, (0.7891, 0.7873, 0.7891, 0.7873), 1.0
)  # fmt: skip
ROWS = [ROW, replace(ROW, id=7, parent_id=None, mutation="")]


def test_a_table_of_genotypes_fits_a_terminal_of_80_columns() -> None:
    sizes = {100: 2_000_000, 7: 1_000_000}
    for macs in (None, sizes):
        lines = population_text(ROWS, macs, 80).splitlines()
        assert max(map(len, lines)) <= 80
        text = " ".join(" ".join(lines).split())
        assert all(value in text for value in ("78.82", "550,000", "evaluated", "98", "random", MUTATION))


def test_a_table_of_genotypes_stays_in_one_piece_in_a_file_and_where_it_fits() -> None:
    whole = population_text(ROWS)
    assert whole == population_text(ROWS, None, 200)
    assert len(whole.splitlines()) == 2 + len(ROWS)
    assert MUTATION in whole
