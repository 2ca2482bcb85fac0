"""The digest: equal exactly when the networks are, against graph isomorphism by networkx."""

import time
from collections import defaultdict
from itertools import product
from random import Random
from statistics import median

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcnas.errors import GenotypeError
from hpcnas.evolution.mutation import mutate
from hpcnas.networks.counts import count
from hpcnas.representation.canonical import digest
from hpcnas.representation.genotype import Genotype, Motif
from hpcnas.representation.live import is_valid, live_levels, pruned
from hpcnas.representation.presets import PUBLISHED
from hpcnas.representation.space import FLAT, HIERARCHICAL, SearchSpace

IDENTITY, CONV1X1, SEPARABLE, MAX = 1, 2, 4, 5
DEEP = SearchSpace("hierarchical", (3, 2, 1), (3, 3, 3))  # four levels, with the primitives


def flat(*rows: tuple[int, ...]) -> Genotype:
    return Genotype(((Motif(rows),),))


# --- the network, written down independently of operators.py: a node for each node of each use of each motif


def expanded(genotype: Genotype) -> tuple[list[tuple[int, int, int]], int, int]:
    """Edges (from, to, primitive) of the cell with every live motif written out, its source and its sink."""
    levels, edges, fresh = live_levels(genotype), [], iter(range(10**9))

    def place(level: int, m: int, source: int) -> int:
        motif = levels[level - 2][m - 1]
        node = {number: next(fresh) for number in motif.nodes[1:]} | {motif.nodes[0]: source}
        for j, i, k in motif.edges:
            if level == 2:
                edges.append((node[j], node[i], k))
            else:
                # A 1x1 follows a motif of primitives; a motif of motifs only hands its sink on.
                edges.append((place(level - 1, k, node[j]), node[i], CONV1X1 if level == 3 else IDENTITY))
        return node[motif.nodes[-1]]

    source = next(fresh)
    return edges, source, place(len(genotype.levels) + 1, 1, source)


def operator_network(genotype: Genotype) -> nx.DiGraph:
    """Operators as nodes, edges weighted by how often one's output occurs in what another reads."""
    edges, source, sink = expanded(genotype)
    graph = nx.DiGraph()
    graph.add_node("input", label="input")
    graph.add_node("output", label="output")

    def parts(node: int) -> list[object]:
        """What the tensor at a node concatenates: operators before it, seen through identities."""
        found: list[object] = ["input"] if node == source else []
        for index, (j, i, k) in enumerate(edges):
            if i == node:
                found.extend(parts(j) if k == IDENTITY else [index])
        return found

    for index, (j, _, k) in enumerate(edges):
        if k != IDENTITY:
            graph.add_node(index, label=k)
            connect(graph, parts(j), index)
    connect(graph, parts(sink), "output")
    return graph


def connect(graph: nx.DiGraph, sources: list[object], target: object) -> None:
    for part in sources:
        times = graph.edges[part, target]["times"] if graph.has_edge(part, target) else 0
        graph.add_edge(part, target, times=times + 1)


def is_same_network(first: nx.DiGraph, second: nx.DiGraph) -> bool:
    return nx.is_isomorphic(first, second, lambda a, b: a["label"] == b["label"], lambda a, b: a["times"] == b["times"])


def assert_partition(genotypes: list[Genotype]) -> int:
    """Digests divide the genotypes exactly as isomorphism does; returns how many pairs were compared by it."""
    classes: dict[str, list[nx.DiGraph]] = defaultdict(list)
    for genotype in genotypes:
        classes[digest(genotype)].append(operator_network(genotype))
    compared = 0
    for members in classes.values():
        for other in members[1:]:
            assert is_same_network(members[0], other)
            compared += 1
    alike: dict[object, list[nx.DiGraph]] = defaultdict(list)
    for members in classes.values():
        graph = members[0]
        alike[
            tuple(
                sorted(
                    (data["label"], d)
                    for (_, data), (_, d) in zip(graph.nodes(data=True), graph.degree, strict=True)
                    if isinstance(data["label"], int)
                )
            ),
            graph.number_of_edges(),
        ].append(graph)
    for graphs in alike.values():
        for index, graph in enumerate(graphs):
            for other in graphs[index + 1 :]:
                assert not is_same_network(graph, other)
                compared += 1
    return compared


# --- against isomorphism


def test_all_flat_genotypes_of_three_nodes():
    """Exhaustive: 343 genotypes."""
    genotypes = [flat((a,), (b, c)) for a, b, c in product(range(7), repeat=3)]
    assert assert_partition([genotype for genotype in genotypes if is_valid(genotype)]) > 100


def test_flat_genotypes_of_four_nodes(uniform):
    """Few operations, so that equal networks are common; identities in plenty."""
    rng, space = Random(50), SearchSpace("flat", (1,), (4,))
    genotypes = {uniform(space, rng, (0, IDENTITY, SEPARABLE, MAX)) for _ in range(500)}
    assert assert_partition(list(genotypes)) > 300


def test_small_hierarchical_genotypes(uniform):
    """Two motifs of three nodes under a cell of three."""
    rng, space = Random(51), SearchSpace("hierarchical", (2, 1), (3, 3))
    genotypes = {uniform(space, rng, (0, IDENTITY, CONV1X1, SEPARABLE)) for _ in range(500)}
    assert assert_partition(list(genotypes)) > 300


def test_genotypes_of_four_levels(uniform):
    """Motifs of motifs only concatenate: how they are cut does not matter."""
    rng = Random(52)
    genotypes = {uniform(DEEP, rng, (0, IDENTITY, SEPARABLE)) for _ in range(250)}
    assert assert_partition(list(genotypes)) > 100


@pytest.mark.parametrize("space", [HIERARCHICAL, FLAT], ids=["hierarchical", "flat"])
def test_mutations_in_the_papers_spaces(space, uniform):
    """Parent and child have one digest exactly when they are one network."""
    rng, same = Random(53), 0
    for _ in range(120):
        parent = uniform(space, rng)
        child = mutate(parent, rng).genotype
        is_same = is_same_network(operator_network(parent), operator_network(child))
        assert (digest(parent) == digest(child)) == is_same
        same += is_same
    assert same > 10


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_live_graphs_that_are_isomorphic_have_one_digest(data):
    """Nodes of a flat cell in another topological order, dead edges drawn anew: the same network."""
    n = data.draw(st.integers(3, 7))
    rows = tuple(tuple(data.draw(st.integers(0, 6)) for _ in range(i)) for i in range(1, n))
    genotype = flat(*rows)
    if is_valid(genotype):
        other = renumbered(genotype, data.draw(st.randoms(use_true_random=False)))
        assert digest(other) == digest(genotype) == digest(pruned(other))


def renumbered(genotype: Genotype, rng: Random) -> Genotype:
    """Another topological order of a flat cell's nodes, source first and sink last."""
    cell = genotype.cell
    inputs = {i: {j for j in range(1, i) if cell.operation(i, j)} for i in range(2, cell.nodes)}
    order, left = [1], set(inputs)
    while left:
        ready = sorted(i for i in left if inputs[i] <= {*order})
        order.append(rng.choice(ready))
        left.discard(order[-1])
    order.append(cell.nodes)

    def operation(i: int, j: int) -> int:
        a, b = order[i - 1], order[j - 1]
        return cell.operation(a, b) if a > b else 0  # against the old order there was no edge

    return flat(*(tuple(operation(i, j) for j in range(1, i)) for i in range(2, cell.nodes + 1)))


def test_renamed_and_permuted_motifs_are_the_same_network(uniform):
    """With the cell's operations renamed along."""
    rng = Random(54)
    for _ in range(60):
        genotype = uniform(HIERARCHICAL, rng)
        order = rng.sample(range(6), 6)
        motifs = tuple(genotype.levels[0][old] for old in order)
        rows = tuple(tuple(k and order.index(k - 1) + 1 for k in row) for row in genotype.cell.rows)
        assert digest(Genotype((motifs, (Motif(rows),)))) == digest(genotype)


def test_unused_motifs_and_dead_edges_do_not_matter():
    """Motifs 2 and 6 are not used by the paper's cell."""
    other = PUBLISHED.with_motif(2, 2, PUBLISHED.levels[0][0]).with_motif(2, 6, Motif(((0,), (0, 0), (0, 0, 0))))
    assert digest(other) == digest(PUBLISHED)
    assert digest(PUBLISHED.with_motif(2, 1, PUBLISHED.levels[0][1])) != digest(PUBLISHED)


def test_a_node_that_only_hands_its_input_on_does_not_matter():
    """Identity computes nothing; without one the networks differ."""
    assert digest(flat((SEPARABLE,), (0, IDENTITY))) == digest(flat((SEPARABLE,))) == digest(flat((IDENTITY,), (0, SEPARABLE)))
    assert digest(flat((SEPARABLE,), (0, SEPARABLE))) != digest(flat((SEPARABLE,)))
    assert digest(flat((SEPARABLE,), (IDENTITY, IDENTITY))) != digest(flat((SEPARABLE,)))


def test_the_order_of_edges_over_one_node_matters_only_where_the_network_does():
    """Pool then convolution is not convolution then pool."""
    assert digest(flat((MAX,), (0, SEPARABLE))) != digest(flat((SEPARABLE,), (0, MAX)))
    assert digest(flat((MAX,), (SEPARABLE, IDENTITY))) == digest(flat((SEPARABLE,), (MAX, IDENTITY)))


def test_colour_refinement_alone_would_not_do():
    """One ring of six against two of three: alike in every neighbourhood, distinguished by the search beyond colours."""
    assert digest(_rings([[0, 1, 2, 3, 4, 5]])) != digest(_rings([[0, 1, 2], [3, 4, 5]]))
    assert digest(_rings([[0, 1, 2, 3, 4, 5]])) == digest(_rings([[0, 3, 1, 5, 2, 4]]))


def test_one_choice_among_what_colours_cannot_tell_apart_would_not_do():
    """A ring of three beside one of four: where the search begins must not matter."""
    rng, names = Random(58), set()
    for _ in range(20):
        nodes = rng.sample(range(7), 7)
        rings = [nodes[:3], nodes[3:]]
        names.add(digest(_rings(rng.sample(rings, 2))))
    assert len(names) == 1


def _rings(rings: list[list[int]]) -> Genotype:
    """Separable nodes on the source; as many more, each joining two that are neighbours in a ring; all to the sink."""
    pairs = [(ring[a - 1], ring[a]) for ring in rings for a in range(len(ring))]
    n = len(pairs)
    rows = [(SEPARABLE, *(0,) * a) for a in range(n)]
    rows += [(0, *(SEPARABLE if node in pair else 0 for node in range(n)), *(0,) * b) for b, pair in enumerate(pairs)]
    rows.append((0, *(0,) * n, *(SEPARABLE,) * n))
    return flat(*rows)


def test_equal_digests_mean_equal_counts(uniform):
    """Parameters, variables, multiply-adds and widths are those of one network."""
    rng, seen = Random(55), {}
    for _ in range(300):
        genotype = uniform(SearchSpace("hierarchical", (2, 1), (3, 3)), rng, (0, IDENTITY, SEPARABLE))
        counted = count(genotype, "small")
        assert seen.setdefault(digest(genotype), counted) == counted
    assert len(seen) < 280


# --- what it is used for


@pytest.mark.slow
def test_a_fifth_of_the_real_mutations_changes_no_network(uniform):
    """22 % of uniform hierarchical genotypes, 17 % of the paper's cell; four standard errors of 1,500 draws."""
    rng = Random(56)
    for parent, expected in ((None, 0.22), (PUBLISHED, 0.165)):
        silent = real = 0
        while real < 1500:
            genotype = parent or uniform(HIERARCHICAL, rng)
            mutation = mutate(genotype, rng)
            if mutation.old != mutation.new:
                real += 1
                silent += digest(mutation.genotype) == digest(genotype)
        assert abs(silent / real - expected) < 4 * (expected * (1 - expected) / real) ** 0.5


def test_digests_are_names_to_be_stored():
    """These must never change: populations hold them."""
    assert digest(PUBLISHED) == "42b2298a96dff2fc5c8bea407187a48af8ada6b8103f3a6e353e27be22b18878"
    assert digest(flat((SEPARABLE,))) == "5f03dedc2a7d029332565a0d7cd297525fa428a0a663aae4aa6043cb271aa642"


def test_a_genotype_without_a_network_has_no_digest():
    """Rather than a name shared by all of them."""
    with pytest.raises(GenotypeError, match="cannot be reached"):
        digest(flat((0,)))


def test_a_digest_takes_about_half_a_millisecond(uniform):
    """Median below 2 ms of CPU in both spaces, however busy the machine; symmetric cells in under a second."""
    rng = Random(57)
    for space in (HIERARCHICAL, FLAT):
        times = [_seconds(uniform(space, rng)) for _ in range(100)]
        assert median(times) < 2e-3
    branches = [(SEPARABLE,)] + [(SEPARABLE, *(0,) * i) for i in range(1, 20)] + [(0, *(MAX,) * 20)]
    assert _seconds(flat(*branches)) < 1.0


def _seconds(genotype: Genotype) -> float:
    start = time.process_time()
    digest(genotype)
    return time.process_time() - start
