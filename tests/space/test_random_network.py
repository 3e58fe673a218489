"""Blueprints: random networks look like those that people build."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import (
    Activation,
    AttentionGate,
    Convolution,
    FullyConnected,
    GlobalPooling,
    Pooling,
    SqueezeExcitation,
    TransposedConvolution,
    Upsampling,
)
from menndl_dask.problem import Budget, Problem
from menndl_dask.space.random_network import random_network
from menndl_dask.space.space import SearchSpace
from tests.problems import PROBLEMS, problem


def _drawn(of: Problem, count: int = 60, maximum: int = 16) -> list[tuple[Layer, ...]]:
    space = SearchSpace.image(of, max_memory_bytes=1e12)
    samplers = {kind: lambda rng, k=kind: space.sample_gene(k, rng) for kind in space.kinds}
    return [random_network(of, samplers, 2, maximum, np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("name", PROBLEMS)
def test_most_networks_need_no_repair(name: str) -> None:
    rules = SearchSpace.image(PROBLEMS[name]).rules
    assert rules is not None
    valid = [rules.violation(Genome(layers)) is None for layers in _drawn(PROBLEMS[name])]
    assert sum(valid) / len(valid) > 0.5


def test_there_are_plain_residual_and_parallel_networks() -> None:
    drawn = _drawn(problem(), 100)
    joins = [[layer for layer in layers if len(layer.inputs) > 1] for layers in drawn]
    assert any(not found for found in joins)
    assert any(layer.join == "add" for found in joins for layer in found)
    assert any(layer.join == "concatenate" for found in joins for layer in found)


def test_networks_for_pixels_are_often_u_shaped() -> None:
    drawn = _drawn(problem("segmentation", ((64, 64, 1),)), 100, 28)
    enlarging = (Upsampling, TransposedConvolution)
    shaped = [
        layers
        for layers in drawn
        if any(isinstance(g, Pooling) for g in layers)
        and any(isinstance(g, enlarging) for g in layers)
        and any(len(g.inputs) > 1 and g.join == "concatenate" for g in layers)
    ]
    assert 0.3 < len(shaped) / len(drawn) < 0.9
    assert not any(isinstance(g, FullyConnected | GlobalPooling) for layers in drawn for g in layers)


def test_every_view_has_a_tower_of_its_own_and_is_read() -> None:
    for layers in _drawn(PROBLEMS["two views"], 30):
        genome = Genome(layers)
        read = {s for node in genome.sources for s in node if s < 0}
        assert read == {-1, -2}
        assert any(isinstance(g, Activation) and g.join == "concatenate" for g in genome.canonical().layers) or any(
            len(g.inputs) > 1 for g in genome.canonical().layers
        )


def test_a_network_starts_with_a_convolution_of_the_image() -> None:
    first = [layers[0] for layers in _drawn(problem())]
    assert sum(isinstance(layer, Convolution) for layer in first) > len(first) / 2
    assert all(getattr(layer, "kernels", 0) >= 4 for layer in first)


def test_lengths_cover_the_range_that_is_asked_for() -> None:
    lengths = {len(layers) for layers in _drawn(problem(), 150)}
    assert min(lengths) <= 3
    assert max(lengths) >= 12


def test_a_network_keeps_to_one_style() -> None:
    # four in five convolutions share their network's activation
    agreeing = []
    for layers in _drawn(problem(), 60):
        used = [layer.activation for layer in layers if isinstance(layer, Convolution)]
        if len(used) >= 4:
            agreeing.append(max(map(used.count, used)) / len(used))
    assert np.mean(agreeing) > 0.6


def test_networks_for_serial_sections_halve_the_sections_first() -> None:
    of = problem("segmentation", ((16, 64, 64, 1),))
    of = replace(of, facts=replace(of.facts, spacing=(40.0, 8.0, 8.0)))
    drawn = _drawn(of, 60, 28)
    pooled = [layer.size for layers in drawn for layer in layers if isinstance(layer, Pooling)]
    assert pooled.count((1, 2, 2)) > 0.5 * len(pooled) > 5
    first = [layers[0].kernel_size for layers in drawn if isinstance(layers[0], Convolution)]
    assert first.count((1, 3, 3)) > 0.4 * len(first)
    space = SearchSpace.image(of, max_memory_bytes=1e12)
    assert all(space.contains(space.sample(np.random.default_rng(seed))) for seed in range(10))


def test_some_networks_have_gates_and_single_images_are_not_normalised_by_batch() -> None:
    of = problem("segmentation", ((32, 32, 1),), budget=Budget(1, batch_size=1))
    drawn = [layer for layers in _drawn(of, 150, 28) for layer in layers]
    assert any(isinstance(layer, SqueezeExcitation) for layer in drawn)
    assert any(isinstance(layer, AttentionGate) and len(layer.inputs) == 2 for layer in drawn)
    methods = [layer.normalisation for layer in drawn if isinstance(layer, Convolution)]
    assert methods.count("instance") > 3 * methods.count("batch")
    summarising = [layer for layers in _drawn(problem(), 60) for layer in layers]
    assert not any("instance" in (getattr(g, "normalisation", ""), getattr(g, "method", "")) for g in summarising)
