"""The canonical form: as it always was, and found in time that grows like the network."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.errors import GenomeError
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import (
    Activation,
    Convolution,
    Dropout,
    Flatten,
    FullyConnected,
    GlobalPooling,
    Normalisation,
    Pooling,
    Upsampling,
)
from menndl_dask.genome.topology import Sources
from tests import slow_canonical_form
from tests.examples import examples
from tests.kinds import GroupNormalisation

THREE, FIVE, PLAIN = Convolution(4), Convolution(4, (5,)), Convolution(4, activation="linear")
NOTHING, SUM, RELU = Activation("linear"), Activation("linear", join="add"), Activation("relu")
REDUNDANT: tuple[Layer, ...] = (
    *(THREE, PLAIN, FullyConnected(4, activation="linear"), NOTHING, NOTHING, RELU, Flatten(), Flatten()),
    *(Normalisation("batch"), Normalisation("none"), Dropout(0.0), Pooling((1,), (1,)), Upsampling((1,))),
    *(GlobalPooling("average"), Normalisation("group"), GroupNormalisation(2)),
)


@st.composite
def redundant(draw: st.DrawFn) -> Genome:
    """Draw a graph, most of whose layers make no difference."""
    pool = draw(st.lists(st.sampled_from(REDUNDANT), min_size=1, max_size=6))
    joins = draw(st.sampled_from((("add", "concatenate"), ("add",), ("multiply", "average", "maximum", "concatenate"))))
    farthest, most = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    layers, sources = [], []
    for i in range(draw(st.integers(1, 24))):
        layers.append(draw(st.sampled_from(pool)).replaced(join=draw(st.sampled_from(joins))))
        read = st.integers(max(-2, i - farthest), i - 1)
        sources.append(tuple(draw(st.lists(read, min_size=1, max_size=most))))
    return Genome.connect(layers, sources)


@examples(120)
@given(redundant())
def test_the_canonical_form_is_the_one_that_every_stored_key_depends_on(genome: Genome) -> None:
    assert genome.canonical().genes == slow_canonical_form.canonical(genome).genes


def _identities(n: int) -> Genome:
    return Genome((THREE, *[NOTHING] * n))


def _dead(n: int) -> Genome:
    return Genome((*[Convolution(4, inputs=(i + 1,)) for i in range(n)], Convolution(4, inputs=(n + 1,))))


def _flattened(n: int) -> Genome:
    return Genome((THREE, *[Flatten()] * n, FullyConnected(4)))


def _absorbed(n: int) -> Genome:
    return Genome((PLAIN, Normalisation("batch"), RELU) * (n // 3))


def _averages(n: int) -> Genome:
    return Genome((THREE, *[GlobalPooling("average")] * n))


def _chained(n: int) -> Genome:
    return Genome(tuple(Convolution(4 + i % 7) for i in range(n)))


def _joining(join: Layer) -> Callable[[int], Genome]:
    def genome(n: int) -> Genome:
        sources: list[Sources] = [(-1,)] * n + [(0, 1)] + [(n + i, i + 2) for i in range(n - 2)]
        return Genome.connect([*[Convolution(4 + i) for i in range(n)], *[join] * (n - 1)], sources)

    return genome


def _wide(last: Layer) -> Callable[[int], Genome]:
    def genome(n: int) -> Genome:
        kinds = [*[Convolution(4 + i) for i in range(n)], last, THREE]
        return Genome.connect(kinds, [*[(-1,)] * n, tuple(range(n)), (n,)])

    return genome


def _residual(join: Layer) -> Callable[[int], Genome]:
    def genome(n: int) -> Genome:
        sources = [s for i in range(n) for s in ((2 * i - 1,), (2 * i, 2 * i - 1))]
        return Genome.connect([THREE, join] * n, sources)

    return genome


SHAPES = {
    "identities": _identities,
    "dead": _dead,
    "flattened": _flattened,
    "absorbed": _absorbed,
    "averages": _averages,
    "a chain": _chained,
    "sums of sums": _joining(SUM),
    "joins of joins": _joining(NOTHING),
    "a wide join": _wide(NOTHING),
    "a wide join in order": _wide(GroupNormalisation(2)),
    "residual": _residual(SUM),
    "dense": _residual(NOTHING),
}


def _calls(build: Callable[[int], Genome], size: int) -> int:
    """Count the function calls that canonical form, key and folded form of a network take, its genes being known."""
    assert build(size).folded().key
    genome, profile = build(size), cProfile.Profile()
    with profile:
        assert genome.key
        genome.folded()
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_twice_the_layers_take_about_twice_the_work(name: str) -> None:
    assert _calls(SHAPES[name], 400) < 2.6 * _calls(SHAPES[name], 200)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_long_networks_have_the_canonical_form_that_they_had(name: str) -> None:
    genome = SHAPES[name](40)
    assert genome.canonical().genes == slow_canonical_form.canonical(genome).genes


def test_thousands_of_branches_that_are_alike_are_told_apart_for_a_while_only() -> None:
    def parallel(n: int) -> Genome:
        return Genome.connect([*[THREE] * n, NOTHING], [*[(-1,)] * n, tuple(range(n))])

    few = parallel(60)
    assert few.canonical().genes == slow_canonical_form.canonical(few).genes
    assert len(parallel(2000).canonical()) == 2001
    assert _calls(parallel, 2000) < 2_000_000  # one by one it would be 2,000 times 2,000 and more


@pytest.mark.parametrize("kind", ["Convolution", "my_layers:Mine"])
@pytest.mark.parametrize("offset", [10_001, 10**12, True, 1.0])
def test_an_offset_is_bounded_in_every_gene(kind: str, offset: object) -> None:
    layer = {"kind": kind, "inputs": [offset]}
    for gene in (layer, {"kind": "Cell", "times": 2, "body": [layer]}):
        with pytest.raises(GenomeError, match=r"inputs: expected offsets from 1 to 10,000, got"):
            Genome.from_dict({"genes": [gene]})


def test_a_view_of_a_high_number_costs_little() -> None:
    assert _calls(lambda offset: Genome((Convolution(4, inputs=(offset,)),)), 10_000) < 1_000
