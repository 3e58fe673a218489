"""Widening: a network that a search is given is kept as it is, or refused in one line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from menndl_dask.errors import UserError
from menndl_dask.evolution.evolution import Evolution
from menndl_dask.evolution.mutation import mutations
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.domain import Choice, Integer, PerAxis, Real, choice
from menndl_dask.genome.forms.cell import Cell
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.genome.layers import (
    Activation,
    Convolution,
    DepthwiseConvolution,
    FullyConnected,
    GlobalPooling,
    Pooling,
    TransposedConvolution,
)
from menndl_dask.genome.training_gene import Training
from menndl_dask.problem import Budget
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.widening import Given, widened, with_value
from tests.menndl_networks import NETWORKS
from tests.problems import PROBLEMS, problem

LONG = Genome((Convolution(2, (1, 45), (5, 1), padding="valid"), Convolution(700, (8, 3))))
WIDE = problem(shapes=((64, 64, 1),))


def given(*genomes: Genome) -> list[Given]:
    return [Given("mine", genome) for genome in genomes]


def drawn(space: SearchSpace, number: int = 25) -> list[str]:
    return [space.sample(np.random.default_rng(seed)).key for seed in range(number)]


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_that_menndl_published_are_kept_as_they_are(name: str) -> None:
    of, network = NETWORKS[name]
    genome = network()
    found = widened(SearchSpace.image(of), given(genome))
    assert found.genomes == [genome]
    assert found.space.contains(genome)
    assert found.space.repair(genome, np.random.default_rng(0)) == genome
    model = decode(genome, of)
    assert model.count_params() == cost_of(genome, of).parameters
    assert encode(model) == genome
    before = SearchSpace.image(of).domain(Convolution, "kernel_size")
    sizes = {layer.kernel_size for layer in genome.layers if isinstance(layer, Convolution)}
    assert all(before.contains(size) for size in sizes - {(12, 45)})


def test_an_evolved_network_costs_what_was_counted_by_hand() -> None:
    of, network = NETWORKS["MINERvA, 633167"]
    cost = cost_of(network(), of)
    assert cost.parameters == pytest.approx(2.86e6, rel=0.002)
    assert cost.flops_forward == pytest.approx(2 * 0.838e9, rel=0.02)


def test_a_given_network_gets_the_values_that_it_needs_and_a_line_names_them() -> None:
    before = SearchSpace.image(WIDE)
    found = widened(before, given(LONG))
    assert before.violation(LONG) is not None
    assert found.space.repair(LONG, np.random.default_rng(0)).genes == LONG.canonical().genes
    (line,) = found.lines
    assert line.startswith("mine: kept as it is; the space now has ")
    for part in ("Convolution.kernels down to 2 and up to 700", "kernel_size", "up to 45", "stride", "up to 5"):
        assert part in line
    again = widened(found.space, given(LONG))
    assert (again.space, again.lines) == (found.space, [])


def test_random_networks_are_those_of_the_space_before_it_was_widened() -> None:
    before = SearchSpace.image(WIDE)
    long = Genome(tuple(Convolution(8 + i, (9, 1 + i % 9)) for i in range(40)))
    after = widened(widened(before, given(LONG)).space, given(long)).space
    assert after.maximum == 40
    assert drawn(after) == drawn(before)
    assert all(after.sample_gene(Convolution, np.random.default_rng(s)).kernels <= 256 for s in range(40))  # type: ignore[attr-defined]


def test_offspring_vary_within_the_wider_ranges() -> None:
    space = widened(SearchSpace.image(WIDE), given(LONG)).space
    genome, found = LONG.canonical(), set()
    step = mutations(space)["step"][0]
    for seed in range(60):
        rng = np.random.default_rng(seed)
        child = space.repair(step(genome, space, rng), rng)
        assert space.contains(child)
        found |= {(layer.kernels, layer.kernel_size) for layer in child.layers if isinstance(layer, Convolution)}
    assert any(kernels > 256 and kernels != 700 for kernels, _ in found)
    assert (2, (1, 45)) in found
    assert any(size != (1, 45) and 45 not in size for kernels, size in found if kernels == 2)


def test_a_kind_that_the_space_does_not_sample_is_added_for_a_given_network() -> None:
    volumes = PROBLEMS["classes of 3-D images"]
    genome = Genome((Convolution(8), DepthwiseConvolution((3, 1, 11), normalisation="batch"), FullyConnected(8)))
    found = widened(SearchSpace.image(volumes), given(genome))
    assert "kinds DepthwiseConvolution" in found.lines[0]
    assert DepthwiseConvolution in found.space.kinds
    assert found.space.contains(genome)
    evolution = Evolution(SearchSpace.image(volumes), initial=[genome])
    assert evolution.ask().genome == genome
    assert DepthwiseConvolution in evolution.space.kinds


def test_the_number_of_layers_is_widened_too() -> None:
    deep = Genome(tuple(Convolution(8 + i) for i in range(30)))
    shallow = Genome((Convolution(8),))
    found = widened(SearchSpace.image(problem()), given(deep, shallow))
    assert (found.space.minimum, found.space.maximum) == (1, 30)
    assert "up to 30 genes" in found.lines[0]
    assert "1 genes or more" in found.lines[1]


def test_layers_that_are_repeated_count_once() -> None:
    block = (Convolution(8), Convolution(8, (1,)), Convolution(8, inputs=(1, 3), join="add"))
    repeated = Genome((Convolution(8), Cell(body=block, times=30), FullyConnected(8)))
    space = SearchSpace.image(problem(), maximum=4)
    assert (space.length(repeated), space.length(repeated.canonical())) == (3, 3)
    assert space.contains(repeated)
    assert widened(space, given(repeated)).lines == []


def test_offspring_may_be_half_as_deep_again_as_a_given_network() -> None:
    block = (Convolution(8), Convolution(8, activation="linear"), Activation("relu", inputs=(1, 3), join="add"))
    deep = Genome((Convolution(8), Cell(body=block, times=33)))
    before = SearchSpace.image(WIDE)
    found = widened(before, given(deep))
    assert (before.deepest, found.space.deepest) == (48, 150)
    assert found.genomes == [deep]


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ({"max_parameters": 1000}, "at most 1000 parameters, got .*: --max-parameters .* lets it in"),
        ({"max_flops": 1e4}, r"at most 1e\+04 FLOPs forward, got .*: --max-flops .* lets it in"),
        ({"max_memory_bytes": 1e5}, r"at most 1e\+05 bytes of memory, got .*: --max-memory .* lets it in"),
        ({"constraints": [lambda genome: "too ugly"]}, "too ugly"),
    ],
)
def test_a_limit_of_the_user_refuses_a_network_and_the_option_is_named(limit: dict[str, object], told: str) -> None:
    space = SearchSpace.image(WIDE, **limit)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=f"^mine: .*{told}$"):
        widened(space, given(LONG))
    with pytest.raises(UserError, match=f"^initial network 0: .*{told}$"):
        Evolution(space, initial=[LONG])


def test_the_limit_that_a_line_names_lets_the_network_in() -> None:
    with pytest.raises(UserError) as refused:
        widened(SearchSpace.image(WIDE, max_parameters=1000), given(LONG))
    enough = float(str(refused.value).partition("--max-parameters ")[2].partition(" ")[0])
    assert widened(SearchSpace.image(WIDE, max_parameters=enough), given(LONG)).genomes == [LONG]


@pytest.mark.parametrize(
    ("genome", "told"),
    [
        (Genome((GlobalPooling("max"), Convolution(8))), "images of 16×16×1: layer 1 .Convolution.: expected an image"),
        (Genome((Convolution(8), Convolution(8, inputs=(1, 3)))), "expected an input among 1 views"),
        (Genome((Pooling((99,), padding="valid"), Convolution(8))), "expected a window that fits"),
        (Genome((Convolution(8, (3, 3, 5)),)), "expected 1 or 2 values"),
    ],
)
def test_a_network_that_cannot_be_built_for_the_images_is_refused(genome: Genome, told: str) -> None:
    with pytest.raises(UserError, match=f"^mine: cannot be built for .*{told}"):
        widened(SearchSpace.image(problem()), given(genome))


def test_training_settings_are_taken_from_the_budget_or_left_out_and_a_line_says_so() -> None:
    of = problem(budget=Budget(epochs=1, batch_size=24, learning_rate=0.3))
    plain, tuned = Genome((Convolution(8),) * 2), Genome((Training("sgd"), Convolution(8), Convolution(8)))
    found = widened(SearchSpace.image(of, training=True), given(plain))
    assert found.genomes[0].genes == (Training("adam", 0.3, 24), *plain.genes)
    assert found.space.contains(found.genomes[0])
    assert found.lines[0] == "mine: its training begins with the settings of the budget"
    found = widened(SearchSpace.image(of), given(tuned))
    assert found.genomes == [plain]
    assert found.lines == ["mine: its Training gene is left out: the space has none"]
    assert widened(SearchSpace.image(of, training=True), given(tuned)).lines == []


@dataclass(frozen=True, slots=True)
class Link(Gene):
    operation: str = choice("none", "skip")


def test_spaces_without_images_are_widened_alike() -> None:
    found = widened(SearchSpace.slots([Link] * 2), given(Genome((Link("none"), Link("pool")))))
    assert found.lines == ["mine: kept as it is; the space now has Link.operation pool"]
    with pytest.raises(UserError, match=r"mine: expected 2 \+ 0 to 0 genes, got 3"):
        widened(SearchSpace.slots([Link] * 2), given(Genome((Link(),) * 3)))


def test_networks_of_another_space_are_refused_when_they_are_told() -> None:
    evolution = Evolution(SearchSpace.image(problem()))
    individual = evolution.ask()
    foreign = type(individual)(7, Genome((Convolution(8), TransposedConvolution(8))))
    with pytest.raises(UserError, match="network 7: gene kind TransposedConvolution, which the space does not have"):
        evolution.recall(foreign)


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        (Choice(("same",)), "valid", Choice(("same", "valid"))),
        (Choice((True,)), False, Choice((True, False))),
        (Integer(4, 8, log=True), 0, Integer(0, 8)),
        (Real(0.1, 1.0, log=True), 0.0, Real(0.0, 1.0)),
        (Real(0.1, 1.0, log=True), 0.123456789, Real(0.1, 1.0, log=True)),
        (PerAxis(Choice((1, 3)), 2), (1, 2), PerAxis(Choice((1, 2, 3)), 2)),
        (PerAxis(Integer(1, 3), 2), (7,), PerAxis(Integer(1, 7), 2)),
        (Integer(1, 3), "two", Integer(1, 3)),
    ],
)
def test_a_domain_gets_a_value(domain: object, value: object, expected: object) -> None:
    assert with_value(domain, value) == expected  # type: ignore[arg-type]
