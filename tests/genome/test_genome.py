"""Genomes: the canonical form, the key, plain dicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from menndl_dask import own_code
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
)
from menndl_dask.genome.topology import Sources
from menndl_dask.genome.training_gene import Training
from menndl_dask.space.space import SearchSpace
from tests.examples import examples
from tests.genomes import UnfitError, graphs, in_symbols, renumbered, shuffled
from tests.kinds import EXTRA, GroupNormalisation
from tests.problems import PROBLEMS

SEEDS = st.integers(0, 2**32 - 1)
THREE, FIVE, SEVEN = (Convolution(8, (size,)) for size in (3, 5, 7))
JOIN, SUM = Activation("linear"), Activation("linear", join="add")


def _network(*nodes: tuple[Layer, Sources]) -> Genome:
    return Genome.connect([layer for layer, _ in nodes], [sources for _, sources in nodes])


@examples(200)
@given(graphs())
def test_the_canonical_form_of_a_canonical_form_is_itself(genome: Genome) -> None:
    agreed = genome.canonical()
    again = Genome(agreed.genes)
    assert again.canonical() is again
    assert again.key == genome.key


@examples(120)
@given(graphs())
def test_the_canonical_form_computes_what_the_genome_says(genome: Genome) -> None:
    try:
        expected = in_symbols(genome)
    except UnfitError:
        assume(False)
    assert in_symbols(genome.canonical()) == expected


@examples(200)
@given(graphs(), SEEDS)
def test_neither_the_numbers_of_layers_nor_the_order_of_summands_matters(genome: Genome, seed: int) -> None:
    rng = np.random.default_rng(seed)
    agreed = genome.canonical()
    assert shuffled(renumbered(agreed, rng), rng, only_free=True) == agreed


@examples(120)
@given(graphs(), SEEDS)
def test_networks_that_compute_something_else_never_share_a_key(genome: Genome, seed: int) -> None:
    other = shuffled(genome, np.random.default_rng(seed), only_free=False)
    try:
        different = in_symbols(other) != in_symbols(genome)
    except UnfitError:
        assume(False)
    if different:
        assert other.key != genome.key


@examples(60)
@given(SEEDS, st.sampled_from(sorted(PROBLEMS)))
def test_different_networks_of_a_search_have_different_keys(seed: int, name: str) -> None:
    space = SearchSpace.image(PROBLEMS[name], maximum=10, extra=EXTRA)
    rng = np.random.default_rng(seed)
    drawn = [space.sample(rng) for _ in range(8)]
    assert len({g.key for g in drawn}) == len({repr(g.canonical().genes) for g in drawn})


@examples(60)
@given(SEEDS, st.sampled_from(sorted(PROBLEMS)))
def test_a_genome_goes_through_json_unchanged(seed: int, name: str) -> None:
    space = SearchSpace.image(PROBLEMS[name], training=True, extra=EXTRA)
    genome = space.sample(np.random.default_rng(seed))
    back = Genome.from_dict(json.loads(json.dumps(genome.to_dict())))
    assert back.genes == genome.genes
    assert back.key == genome.key


def test_concatenation_has_no_order_where_weights_follow() -> None:
    first = _network((THREE, (-1,)), (FIVE, (-1,)), (SEVEN, (0, 1)))
    assert first == _network((THREE, (-1,)), (FIVE, (-1,)), (SEVEN, (1, 0)))
    assert _network((THREE, (-1,)), (FIVE, (-1,)), (JOIN, (0, 1)), (Dropout(0.5), (2,))) == _network(
        (FIVE, (-1,)), (THREE, (-1,)), (JOIN, (0, 1)), (Dropout(0.5), (2,))
    )


def test_concatenation_has_no_order_where_it_is_added_to_what_weights_have_made() -> None:
    wide = Convolution(16, (1,))
    first, second = (
        _network((THREE, (-1,)), (FIVE, (-1,)), (JOIN, order), (wide, (-1,)), (SUM, (2, 3)))
        for order in ((0, 1), (1, 0))
    )
    assert first == second


def test_concatenation_has_an_order_where_addition_lines_it_up_with_another() -> None:
    pairs = [(THREE, (-1,)), (FIVE, (-1,)), (THREE, (0,)), (FIVE, (1,))]
    first, second = (
        _network(*pairs, (JOIN, (0, 1)), (JOIN, order), (SUM, (4, 5)), (SEVEN, (6,))) for order in ((2, 3), (3, 2))
    )
    assert first != second


def test_concatenation_has_an_order_where_two_of_them_are_added_to_the_same_layer() -> None:
    nodes = [(THREE, (-1,)), (FIVE, (-1,)), (Convolution(16, (1,)), (-1,)), (JOIN, (0, 1)), (SUM, (3, 2))]
    first, second = (
        _network(*nodes, (JOIN, order), (SUM, (5, 2)), (SEVEN, (4,)), (SEVEN, (6,)), (SUM, (7, 8)))
        for order in ((0, 1), (1, 0))
    )
    assert first != second


def test_concatenation_has_an_order_before_a_layer_of_which_nothing_is_known() -> None:
    first, second = (
        _network((THREE, (-1,)), (FIVE, (-1,)), (GroupNormalisation(2), order)) for order in ((0, 1), (1, 0))
    )
    assert first != second


def test_layers_that_mirror_each_other_are_numbered_alike_however_they_came() -> None:
    # a ring: four equal convolutions, four equal layers that read two neighbours each
    ring = [(THREE, (-1,))] * 4
    first = _network(*ring, *[(FIVE, (i, (i + 1) % 4)) for i in range(4)], (SEVEN, (4, 5, 6, 7)))
    two_rings = _network(*ring, *[(FIVE, s) for s in ((0, 1), (0, 1), (2, 3), (2, 3))], (SEVEN, (4, 5, 6, 7)))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert shuffled(renumbered(first, rng), rng, only_free=True) == first
    assert first != two_rings


@pytest.mark.parametrize(
    ("longer", "shorter"),
    [
        ((THREE, Pooling((1,), (1,)), FIVE), (THREE, FIVE)),
        ((THREE, Flatten(), FullyConnected(8)), (THREE, FullyConnected(8))),
        ((THREE, GlobalPooling("average")), (THREE,)),
        (
            (Convolution(8, activation="linear"), Normalisation("batch"), Activation("relu")),
            (Convolution(8, normalisation="batch", activation="relu"),),
        ),
        ((Convolution(8, (3, 3)), FIVE), (Convolution(8, (3,)), FIVE)),
        ((Convolution(8, (1,), padding="valid"),), (Convolution(8, (1,), padding="same"),)),
        ((THREE, FIVE, SEVEN.replaced(inputs=(2,))), (THREE, SEVEN)),
        ((THREE, FIVE.replaced(inputs=(1, 1))), (THREE, FIVE)),
    ],
)
def test_what_makes_no_difference_is_left_out(longer: tuple[Layer, ...], shorter: tuple[Layer, ...]) -> None:
    assert Genome(longer) == Genome(shorter)
    assert hash(Genome(longer)) == hash(Genome(shorter))
    assert Genome(longer).canonical().genes == shorter


def test_a_sum_of_sums_is_one_sum() -> None:
    nodes = [(THREE, (-1,)), (FIVE, (-1,)), (SEVEN, (-1,))]
    flat = _network(*nodes, (SUM, (0, 1, 2)))
    assert _network(*nodes, (SUM, (0, 1)), (SUM, (3, 2))) == flat
    assert _network(*nodes, (JOIN, (0, 1)), (SUM, (3, 2))) != flat


def test_an_average_over_the_image_makes_a_difference_unless_it_is_last() -> None:
    assert Genome((THREE, GlobalPooling(), FullyConnected(8))) != Genome((THREE, FullyConnected(8)))
    assert Genome((THREE, GlobalPooling("max"))) != Genome((THREE,))


def test_settings_are_part_of_the_key() -> None:
    assert Genome((Training("sgd"), THREE)) != Genome((Training("adam"), THREE)) != Genome((THREE,))


def test_the_key_is_the_same_in_another_process_with_another_hash_seed() -> None:
    code = (
        "import numpy as np; from menndl_dask.space.space import SearchSpace; from tests.problems import PROBLEMS\n"
        "for name in sorted(PROBLEMS):\n"
        "    genome = SearchSpace.image(PROBLEMS[name], training=True).sample(np.random.default_rng(5))\n"
        "    print(genome.key, hash(genome))"
    )
    path = os.pathsep.join(sys.path)
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
            timeout=200,
        ).stdout
        for seed in ("1", "2")
    }
    here = SearchSpace.image(PROBLEMS[min(PROBLEMS)], training=True).sample(np.random.default_rng(5))
    assert len(told) == 1
    assert told.pop().startswith(f"{here.key} {hash(here)}\n")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "expected a genome, a dict with a list under 'genes'"),
        ({"genes": 3}, "expected a genome, a dict with a list under 'genes'"),
        ({"genes": ["conv"]}, "expected a gene, a dict with its kind, got 'conv'"),
        ({"genes": [{"kind": "Convolutoin"}]}, "unknown gene kind 'Convolutoin'; did you mean 'Convolution'"),
        ({"genes": [{"kind": "nowhere:Kind"}]}, "needs module nowhere, which cannot be imported"),
        ({"genes": [{"kind": "Dropout", "rat": 0.5}]}, "Dropout: unknown field 'rat'; did you mean 'rate'"),
        ({"genes": [{"kind": "Convolution", "kernels": "many"}]}, "expected an integer from 1 to 65,536, got 'many'"),
        ({"genes": [{"kind": "Convolution", "inputs": [0]}]}, "inputs: expected offsets from 1"),
        ({"genes": [{"kind": "Convolution", "inputs": []}]}, "inputs: expected offsets from 1"),
        ({"genes": [{"kind": "Convolution", "inputs": 1}]}, "inputs: expected offsets from 1"),
        ({"genes": [{"kind": "Convolution", "join": "divide"}]}, "join: expected one of .*got 'divide'"),
    ],
)
def test_what_is_no_genome_is_refused_in_words(data: object, message: str) -> None:
    own_code.allow([own_code.ALL])
    with pytest.raises(GenomeError, match=message):
        Genome.from_dict(data)  # type: ignore[arg-type]


def test_a_genome_is_not_changed_by_its_canonical_form() -> None:
    genome = Genome((THREE, Dropout(0.0)))
    assert genome.canonical() is genome.canonical()
    assert genome.genes == (THREE, Dropout(0.0))
    assert genome != "a genome"


def test_a_key_costs_little_beside_a_training() -> None:
    # a hundred layers that all read two others: far beyond any search
    nodes = [(Convolution(8 + i % 5), (max(-1, i - 1), max(-1, i - 7))) for i in range(100)]
    assert len(_network(*nodes).canonical()) == 100
