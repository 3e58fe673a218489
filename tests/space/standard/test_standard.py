"""The standard networks: valid for every problem, and what they are called."""

from __future__ import annotations

from dataclasses import replace

import pytest

from menndl_dask.errors import UserError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.layers import Activation, Convolution, Pooling, Upsampling
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.standard.standard import standard_network
from tests.problems import PROBLEMS, problem


@pytest.mark.parametrize("name", PROBLEMS, ids=str)
def test_there_is_a_standard_network_for_every_problem(name: str) -> None:
    title, genome = standard_network(PROBLEMS[name])
    assert title in ("U-Net, small", "ResNet, small")
    assert cost_of(genome, PROBLEMS[name]).parameters > 1000


def test_the_u_net_reads_its_encoder_again_and_the_residual_network_adds() -> None:
    _, u_net = standard_network(PROBLEMS["pixels of 2-D images"])
    assert sum(isinstance(layer, Upsampling) for layer in u_net.layers) == 3
    assert sum(len(node) == 2 for node in u_net.sources) == 3
    _, residual = standard_network(PROBLEMS["classes of 2-D images"])
    assert sum(isinstance(g, Activation) and g.join == "add" for g in residual.layers) == 3


def test_the_u_net_of_serial_sections_halves_the_sections_first() -> None:
    of = problem("segmentation", ((16, 64, 64, 1),))
    of = replace(of, facts=replace(of.facts, spacing=(40.0, 8.0, 8.0)))
    _, genome = standard_network(of)
    assert [layer.size for layer in genome.layers if isinstance(layer, Pooling)] == [(1, 2, 2), (1, 2, 2), (2,)]
    assert [layer.size for layer in genome.layers if isinstance(layer, Upsampling)] == [(2,), (1, 2, 2), (1, 2, 2)]
    kernels = [layer.kernel_size for layer in genome.layers if isinstance(layer, Convolution)]
    assert (kernels[0], kernels[-1], kernels.count((3,))) == ((1, 3, 3), (1, 3, 3), 6)
    assert {layer.normalisation for layer in genome.layers if isinstance(layer, Convolution)} == {"batch"}
    assert SearchSpace.image(of, max_memory_bytes=1e12).contains(genome)


@pytest.mark.parametrize(("size", "depth", "widest"), [(32, 3, 128), (64, 3, 128), (128, 4, 256), (512, 4, 256)])
def test_large_images_have_a_deeper_u_net(size: int, depth: int, widest: int) -> None:
    of = problem("segmentation", ((size, size, 1),))
    _, genome = standard_network(of)
    assert sum(isinstance(layer, Pooling) for layer in genome.layers) == depth
    assert max(layer.kernels for layer in genome.layers if isinstance(layer, Convolution)) == widest
    assert SearchSpace.image(of, max_memory_bytes=1e12).contains(genome)


@pytest.mark.parametrize(("shape", "depth"), [((101, 101, 1), 3), ((21, 13, 1), 1), ((90, 90, 1), 3)])
def test_images_of_odd_sizes_have_a_u_net_too(shape: tuple[int, ...], depth: int) -> None:
    of = problem("segmentation", (shape,))
    _, genome = standard_network(of)
    assert sum(isinstance(layer, Pooling) for layer in genome.layers) == depth
    assert sum(len(node) == 2 for node in genome.sources) == depth
    assert cost_of(genome, of).layers[-1].shape[:-1] == shape[:-1]


def test_images_of_one_pixel_have_no_standard_network() -> None:
    with pytest.raises(UserError, match="at least 2 pixels a side, got 1"):
        standard_network(problem(shapes=((1, 40, 1),)))


def test_the_standard_networks_are_those_of_all_earlier_runs() -> None:
    keys = ["61dad21035ab46fe", "61dad21035ab46fe", "8774eb7b4e3158ab", "354f8f9c838c137b", "dbaadacd40e6661c"]
    keys += ["439c2105dd4f77c2", "2b69d01122dc2e91", "d5f5d2d1d33eaf34", "7f1b1871b41101ab", "a61faf23f5ed220b"]
    assert [standard_network(of)[1].key for of in PROBLEMS.values()] == keys
