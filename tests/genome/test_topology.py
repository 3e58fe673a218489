"""Topology: offsets and indices, what is live, orders that depend on nothing but the graph."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.topology import absolute, canonical_order, consumers, live, order_matters, relative
from tests.genomes import graphs


@given(graphs().map(lambda genome: genome.sources))
def test_offsets_and_indices_say_the_same(sources: list[tuple[int, ...]]) -> None:
    assert absolute(relative(sources)) == sources


@given(graphs().map(lambda genome: genome.sources))
def test_who_reads_whom_is_known_from_both_sides(sources: list[tuple[int, ...]]) -> None:
    readers = consumers(sources)
    assert all((i in readers[s]) for i, node in enumerate(sources) for s in node if s >= 0)
    assert all((s in sources[i]) for s, node in enumerate(readers) for i in node)


def test_only_what_the_output_depends_on_is_live() -> None:
    sources = [(-1,), (0,), (0,), (2,)]
    assert live(sources, 3) == [True, False, True, True]
    assert live(sources, -1) == [False] * 4


def test_a_chain_keeps_its_order() -> None:
    assert canonical_order("abc", [(-1,), (0,), (1,)], 2, [False] * 3) == ([0, 1, 2], [(-1,), (0,), (1,)])


def test_a_network_without_layers_has_no_order() -> None:
    assert canonical_order("", [], -1, []) == ([], [])


def test_a_layer_follows_all_that_it_reads() -> None:
    order, sources = canonical_order("abcd", [(-1,), (-2,), (1, 0), (2, 0)], 3, [False] * 4)
    place = {node: i for i, node in enumerate(order)}
    assert order[-1] == 3
    assert all(place[s] < place[i] for i in order for s in sources[i] if s >= 0)


def test_twins_are_listed_alike_whichever_comes_first() -> None:
    rng = np.random.default_rng(0)
    listings = set()
    for _ in range(10):
        first, second = rng.permutation(2)
        labels = np.array(["x", "y"])[[first, second]]
        order, _ = canonical_order([*labels, "end"], [(-1,), (-1,), (0, 1)], 2, [False] * 3)
        listings.add(tuple([*labels, "end"][i] for i in order))
    assert len(listings) == 1


@given(graphs())
def test_order_never_matters_to_a_sum_or_to_a_single_source(genome: Genome) -> None:
    adds = [len(node) > 1 and layer.join == "add" for layer, node in zip(genome.layers, genome.sources, strict=True)]
    found = order_matters(genome.sources, adds, [layer.channels for layer in genome.layers])
    for matters, add, node in zip(found, adds, genome.sources, strict=True):
        assert not (matters and (add or len(node) == 1))


def test_an_order_matters_through_a_further_concatenation() -> None:
    # 0 to 3 are convolutions; 4 joins two of them; 5 joins that with a third; 6 adds the fourth view-like pair
    mixed, kept = "mixed", "kept"
    sources = [(-1,), (-1,), (-1,), (0, 1), (3, 2), (-1,), (4, 5), (6,)]
    adds = [False] * 6 + [True, False]
    assert order_matters(sources, adds, [mixed, mixed, mixed, kept, kept, mixed, kept, mixed]) == [False] * 8
    # the same, added to the image itself, whose channels have the order that they have
    sources[6] = (4, -1)
    found = order_matters(sources, adds, [mixed, mixed, mixed, kept, kept, mixed, kept, mixed])
    assert [i for i, matters in enumerate(found) if matters] == [3, 4]


@given(st.integers(0, 2**32 - 1))
def test_order_does_not_matter_where_all_readers_mix(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sources = [(-1,)] + [tuple(int(s) for s in rng.choice(i, size=min(i, 2), replace=False)) for i in range(1, 8)]
    assert order_matters(sources, [False] * 8, ["mixed"] * 8) == [False] * 8
