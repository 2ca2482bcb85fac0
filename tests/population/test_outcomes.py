"""What counts as a failure, on the page, in `hpcnas failures` and for the head: one definition."""

import re

import pytest

from hpcnas.population import rules
from hpcnas.population.records import FailureKind
from hpcnas.population.statements import read_sql


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_the_statements_know_the_same_outcomes_as_no_failures(dialect: str) -> None:
    """One definition, in rules.NEUTRAL_OUTCOMES; SQL has to write it out."""
    text = read_sql(dialect, "queries.sql") + read_sql(dialect, "schema.sql")
    lists = [set(re.findall(r"'([^']*)'", found)) for found in re.findall(r"outcome NOT IN \(([^)]*)\)", text)]
    assert len(lists) > 5
    assert all(words >= {rules.LOST, rules.PREEMPTED} for words in lists)
    assert lists.count(set(rules.NEUTRAL_OUTCOMES)) > 4
    assert not {kind.value for kind in FailureKind} & rules.NEUTRAL_OUTCOMES
