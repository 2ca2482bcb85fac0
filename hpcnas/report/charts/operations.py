"""Charts the primitives that a search keeps: their shares among the edges of live cells, step by step."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from hpcnas.report.charts.chart import AxesPanel, Chart, Scalar, Series
from hpcnas.report.charts.search import STEP
from hpcnas.report.views import Evaluation, RunRows
from hpcnas.representation.codec import genotype_from_json
from hpcnas.representation.genotype import Genotype
from hpcnas.representation.live import live_levels
from hpcnas.representation.primitives import PRIMITIVES

SPANS = 40  # of a run: enough to see a primitive come and go
FEWEST = 10  # genotypes of a span
MOST_READ = 100  # genotypes of a span, evenly chosen, so that a page of 100,000 genotypes stays quick


@dataclass(frozen=True, slots=True)
class Span:
    """Genotypes that follow each other, all random or all evolved, and the mean share of each primitive among them."""

    first: int
    last: int
    kind: str
    genotypes: int
    shares: Mapping[str, float]


def operations_chart(runs: Sequence[RunRows]) -> Chart:
    """The share of each primitive among the edges of live cells, against the evolution step; a panel for each run."""
    found = [(run, spans) for run in runs if (spans := _spans(run))]
    known = {name for run, _ in found for name in run.config.space.pool}
    used = {name for _, spans in found for span in spans for name in span.shares}
    names = [*PRIMITIVES, *sorted((known | used) - set(PRIMITIVES))]
    panels = tuple(_panel(run, spans, names) for run, spans in found)
    records: tuple[tuple[Scalar, ...], ...] = tuple(
        (run.label, span.first, span.last, span.kind, span.genotypes, name, 100 * span.shares.get(name, 0.0))
        for run, spans in found
        for span in spans
        for name in names
    )
    fields = ("run", "first_step", "last_step", "kind", "genotypes", "operation", "share_percent")
    return Chart("operations", "Operations of the cells", _caption(found), panels, fields, records)


def _caption(found: Sequence[tuple[RunRows, Sequence[Span]]]) -> str:
    if not found:
        return "No evaluated genotype can be read."
    counted = "; ".join(
        f"{run.label}: {sum(span.genotypes for span in spans if span.kind == 'random'):,} random, then "
        f"{sum(span.genotypes for span in spans if span.kind == 'evolved'):,} evolved genotypes"
        for run, spans in found
    )
    return (
        "Share of each primitive among the edges of the live cell; an edge of a motif counts once for each place of the motif. "
        f"Mean over about {SPANS} equal spans of the search; none mixes random with evolved genotypes. {counted}."
    )


def _panel(run: RunRows, spans: Sequence[Span], names: Sequence[str]) -> AxesPanel:
    x = (*(float(span.first) for span in spans), float(max(span.last for span in spans)))
    series = []
    for name in names:
        y = [100 * span.shares.get(name, 0.0) for span in spans]
        series.append(Series(name, x, (*y, y[-1]), "steps", operation=name, run=run.label))
    return AxesPanel(run.label, STEP, "share of the edges (%)", tuple(series), from_zero=True)


def _spans(run: RunRows) -> list[Span]:
    """In the order of the steps; empty if nothing is evaluated or the genotypes are not known."""
    random = [row for row in run.evaluations if row.parent_id is None]
    evolved = [row for row in run.evaluations if row.parent_id is not None]
    size = max(FEWEST, -(-len(run.evaluations) // SPANS))
    parts = [(kind, part) for kind, rows in (("random", random), ("evolved", evolved)) for part in _parts(rows, size)]
    chosen = [(kind, part, _evenly(part)) for kind, part in parts]
    if not run.genotypes:
        return []
    spans = [Span(part[0].id, part[-1].id, kind, len(part), _mean_shares(rows, run.genotypes)) for kind, part, rows in chosen]
    return sorted(spans, key=lambda span: span.first)


def _parts(rows: Sequence[Evaluation], size: int) -> Iterator[Sequence[Evaluation]]:
    """Equal parts of about `size` rows, at least one if there are rows."""
    count = max(1, round(len(rows) / size)) if rows else 0
    ends = [len(rows) * index // count for index in range(count + 1)] if count else []
    for begin, end in pairwise(ends):
        yield rows[begin:end]


def _evenly(rows: Sequence[Evaluation]) -> Sequence[Evaluation]:
    return rows[:: -(-len(rows) // MOST_READ)]


def _mean_shares(rows: Sequence[Evaluation], texts: Mapping[int, str]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for row in rows:
        total.update(_shares(texts[row.id]))
    return {name: share / len(rows) for name, share in total.items()}


@lru_cache(maxsize=8192)  # late in a search most genotypes are written like an earlier one
def _shares(genotype: str) -> Mapping[str, float]:
    counts = primitive_counts(genotype_from_json(genotype))
    return {name: count / counts.total() for name, count in counts.items()}


def primitive_counts(genotype: Genotype) -> Counter[str]:
    """Counts how often each primitive stands on an edge of the live cell, its motifs written out; empty without a network."""
    levels = live_levels(genotype)
    below = [Counter({genotype.operation_name(2, k): 1}) for k in range(1, genotype.pool_size(2) + 1)]
    for motifs in levels:
        counts = []
        for motif in motifs:
            here: Counter[str] = Counter()
            for _, _, k in motif.edges if motif else ():
                here.update(below[k - 1])
            counts.append(here)
        below = counts
    return below[0]
