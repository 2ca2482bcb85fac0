"""`hpcnas bench startup` measures real processes, and says why one of them failed."""

import pytest

from hpcnas.benchmarks.startup import GOALS_S, run, text
from hpcnas.errors import HpcnasError


def test_every_process_is_started_as_often_as_asked_and_measured() -> None:
    report = run(2, genotypes=20)
    assert [key.removesuffix("_s") for key in report["summary"]] == list(GOALS_S)
    for row in report["rows"]:
        assert row["n"] == 2
        assert 0 < row["low"] <= row["median"] <= row["high"]
        assert 0 < row["processor_s"] <= 2 * row["high"]
        assert row["name"] in text(report)


def test_a_worker_that_cannot_claim_is_the_benchs_error_in_its_own_words() -> None:
    with pytest.raises(HpcnasError, match=r"claimed nothing: .*nowhere"):
        run(1, genotypes=1, dataset="folder:/nowhere")
