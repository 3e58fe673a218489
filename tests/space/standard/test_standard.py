"""The standard networks: valid for every problem, and what they are called."""

from __future__ import annotations

import pytest

from menndl_dask.errors import UserError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.layers import Activation, Upsampling
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


def test_images_of_one_pixel_have_no_standard_network() -> None:
    with pytest.raises(UserError, match="at least 2 pixels a side, got 1"):
        standard_network(problem(shapes=((1, 40, 1),)))
