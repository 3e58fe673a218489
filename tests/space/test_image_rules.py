"""The rules of image networks: what is refused before submission, and how it is repaired."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.errors import InfeasibleError, UserError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.domain import PerAxis, choice, integer
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import (
    Activation,
    Convolution,
    DepthwiseConvolution,
    Flatten,
    FullyConnected,
    GlobalPooling,
    Pooling,
    SeparableConvolution,
    Upsampling,
)
from menndl_dask.genome.training_gene import Training
from menndl_dask.problem import Budget
from menndl_dask.space.image_rules import insert, remove
from menndl_dask.space.space import SearchSpace
from tests.examples import examples
from tests.kinds import EXTRA, GroupedConvolution, GroupNormalisation, Noise
from tests.problems import PROBLEMS, problem

EIGHT = Convolution(8)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_parameters": 1000}, "expected at most 1000 parameters, got"),
        ({"max_flops": 1e6}, r"expected at most 1e\+06 FLOPs forward, got"),
        ({"max_memory_bytes": 3e6}, r"expected at most 3e\+06 bytes of memory, got"),
    ],
)
def test_an_oversized_network_is_refused_with_the_limit_named(limits: dict[str, float], message: str) -> None:
    space = SearchSpace.image(problem(), **limits)  # type: ignore[arg-type]
    big = Genome((Convolution(32), Convolution(64)))
    wrong = space.violation(big)
    assert wrong is not None
    assert re.match(message, wrong)
    repaired = space.repair(big, np.random.default_rng(0))
    assert space.contains(repaired)
    assert [type(layer) for layer in repaired.layers] == [Convolution, Convolution]  # narrower, not another network


def test_memory_is_that_of_the_batch_that_the_network_trains_with() -> None:
    of = problem(shapes=((64, 64, 1),), budget=Budget(epochs=1, batch_size=8))
    layers = (Convolution(16), Convolution(16))
    enough = cost_of(Genome(layers), of).memory_bytes(32)
    space = SearchSpace.image(of, training=True, max_memory_bytes=enough)
    assert space.violation(Genome((Training(batch_size=32), *layers))) is None
    assert "bytes of memory" in str(space.violation(Genome((Training(batch_size=64), *layers))))
    assert SearchSpace.image(of, max_memory_bytes=enough / 3).violation(Genome(layers)) is None


def test_an_unbuildable_network_is_refused_with_the_layer_named() -> None:
    space = SearchSpace.image(problem())
    wrong = space.violation(Genome((GlobalPooling("max"), Convolution(8))))
    assert wrong == "layer 1 (Convolution): expected an image, got 1 features"


@pytest.mark.parametrize(
    ("layers", "repaired"),
    [
        # what cannot stand where it is goes
        ((EIGHT, GlobalPooling("max"), EIGHT, FullyConnected(8)), [Convolution, GlobalPooling, FullyConnected]),
        # a sum of different shapes becomes a concatenation, or reads the first one only
        ((EIGHT, Convolution(16), Activation(inputs=(1, 2), join="add")), [Convolution, Convolution, Activation]),
        ((EIGHT, Pooling(), Activation(inputs=(1, 2), join="add")), [Convolution, Pooling, Activation]),
    ],
)
def test_a_network_is_repaired_rather_than_thrown_away(layers: tuple[Layer, ...], repaired: list[type[Layer]]) -> None:
    space = SearchSpace.image(problem(), minimum=1)
    assert space.violation(Genome(layers)) is not None
    found = space.repair(Genome(layers), np.random.default_rng(0))
    assert [type(layer) for layer in found.layers] == repaired
    assert space.contains(found)


def test_windows_strides_and_dilations_are_clipped_to_the_image() -> None:
    space = SearchSpace.image(problem(shapes=((8, 8, 1),)), minimum=1)
    for layer in (
        Convolution(8, (7,), padding="valid", dilation=(2,)),
        Convolution(8, stride=(2,), dilation=(2,)),
        DepthwiseConvolution(stride=(1, 2)),
        SeparableConvolution(8, stride=(2, 1)),
        Pooling((3,), (2,), padding="valid"),
    ):
        found = space.repair(Genome((layer, FullyConnected(8))), np.random.default_rng(0))
        assert isinstance(found.layers[0], type(layer))
        assert space.contains(found)


def test_a_dense_network_never_grows_beyond_its_image_and_has_no_vectors() -> None:
    space = SearchSpace.image(problem("segmentation"), minimum=1)
    grown = Genome((Convolution(8), Upsampling((2,)), FullyConnected(8), Flatten()))
    found = space.repair(grown, np.random.default_rng(0))
    assert [type(layer) for layer in found.layers] == [Convolution]


def test_what_is_one_pixel_larger_is_joined_and_what_is_larger_still_is_not() -> None:
    of = problem("segmentation", ((21, 21, 1),))
    space = SearchSpace.image(of, minimum=1)
    halved = Genome((EIGHT, Pooling(), EIGHT, Upsampling(), Convolution(8, inputs=(1, 4))))
    assert space.repair(halved, np.random.default_rng(0)) == halved
    twice = Genome((EIGHT, Pooling(), Pooling(), EIGHT, Upsampling(), Upsampling(), Convolution(8, inputs=(1, 6))))
    assert all(len(node) == 1 for node in space.repair(twice, np.random.default_rng(0)).sources)


def test_tensors_are_joined_value_by_value_where_they_fit_and_concatenated_where_not() -> None:
    space = SearchSpace.image(problem(), minimum=1)
    gate = (EIGHT, GlobalPooling(keepdims=True), Convolution(8, (1,)), Activation(inputs=(3, 1), join="multiply"))
    assert space.repair(Genome(gate), np.random.default_rng(0)) == Genome(gate)
    unlike = Genome((EIGHT, Convolution(4), Activation(inputs=(2, 1), join="maximum"), Convolution(8)))
    found = space.repair(unlike, np.random.default_rng(0))
    assert space.contains(found)
    assert sorted(map(len, found.sources)) == [1, 1, 1, 2]
    assert all(layer.join == "concatenate" for layer in found.layers)


def test_too_long_a_network_is_shortened_and_too_short_a_one_lengthened() -> None:
    space = SearchSpace.image(problem(), minimum=3, maximum=5)
    for count in (1, 9):
        layers = tuple(Convolution(8 + i) for i in range(count))  # equal ones would count as one gene
        found = space.repair(Genome(layers), np.random.default_rng(0))
        assert 3 <= len(found) <= 5


def test_layers_that_are_repeated_count_as_one_gene() -> None:
    space = SearchSpace.image(problem(), minimum=3, maximum=5)
    deep = Genome((Convolution(4), *(Convolution(8), Convolution(8, (5,))) * 20, Convolution(9)))
    assert space.length(deep) == 3
    assert space.contains(deep)
    assert space.repair(deep, np.random.default_rng(0)) == deep


@given(st.integers(0, 2**32 - 1))
def test_taking_out_what_was_put_in_leaves_the_network_as_it_was(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = [Convolution(8 + i) for i in range(6)]
    sources = [(-1,), *(tuple(sorted({int(s) for s in rng.integers(0, i, size=2)})) for i in range(1, 6))]
    place = int(rng.integers(6))
    longer = insert(layers, sources, place, Activation("relu"))
    assert len(longer[0]) == len(longer[1]) == 7
    assert remove(*longer, place) == (layers, sources)


@dataclass(frozen=True, slots=True)
class Bare(Layer):
    """A kind without rules."""


@dataclass(frozen=True, slots=True)
class Wide(Convolution):
    """A kind whose rules would never be asked for."""


@dataclass(frozen=True, slots=True)
class Setting(Gene):
    value: int = integer(1, 3)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Bare, "gene kind Bare lacks the method output_shape and parameter_count and forward_flops and build"),
        (Wide, "Wide: expected a gene kind that is derived from Layer itself"),
        (Setting, "Setting: expected a gene kind that is derived from Layer itself"),
    ],
)
def test_a_users_kind_without_all_its_rules_is_refused_at_once(kind: type[Gene], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SearchSpace.image(problem(), extra=[kind])


@examples(40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(PROBLEMS)))
def test_a_users_kinds_are_repaired_like_any_other(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    space = SearchSpace.image(PROBLEMS[name], minimum=1, maximum=8, extra=EXTRA)
    layers = [space.sample_gene(EXTRA[rng.integers(len(EXTRA))], rng) for _ in range(4)]
    found = space.repair(Genome((Convolution(7), *layers)), rng)
    assert space.contains(found)
    # an odd number of channels cannot be grouped
    assert not any(isinstance(g, GroupNormalisation | GroupedConvolution) for g in found.layers[1:2])


def test_a_users_sizes_for_each_axis_suit_the_rank_of_the_images() -> None:
    space = SearchSpace.image(PROBLEMS["classes of 3-D images"], extra=EXTRA)
    domain = space.domain(GroupedConvolution, "kernel_size")
    assert isinstance(domain, PerAxis)
    assert domain.rank == 3


@pytest.mark.parametrize("name", PROBLEMS)
def test_random_networks_use_a_users_kinds(name: str) -> None:
    space = SearchSpace.image(PROBLEMS[name], extra=[Noise])
    drawn = [space.sample(np.random.default_rng(seed)) for seed in range(40)]
    assert any(isinstance(layer, Noise) for genome in drawn for layer in genome.layers)


@dataclass(frozen=True, slots=True)
class Sized(Noise):
    """A user's field may have the name of one of ours, and mean something else."""

    size: int = choice(2, 3)
    padding: str = choice("none", "some")


def test_a_users_field_is_not_taken_for_one_of_ours() -> None:
    space = SearchSpace.image(problem("segmentation"), minimum=1, extra=[Sized])
    found = space.repair(Genome((Sized(size=3, padding="some"), GlobalPooling())), np.random.default_rng(0))
    assert found.layers == (Sized(size=3, padding="some"),)


def test_a_network_that_no_repair_helps_is_an_error_in_words() -> None:
    space = SearchSpace.image(problem(), maximum=3, max_memory_bytes=10.0)
    with pytest.raises(UserError, match="no valid network in 200 draws; the last one: expected at most 10 bytes"):
        space.sample(np.random.default_rng(0))
    assert space.rules is not None
    with pytest.raises(InfeasibleError, match="expected at most 10 bytes of memory"):
        space.rules.repair(Genome((EIGHT, FullyConnected(8))), 2, 3, np.random.default_rng(0))
