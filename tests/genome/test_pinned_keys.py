"""Keys stay what they were when the first runs were written; random networks and their costs within a version."""

from __future__ import annotations

import numpy as np
import pytest

from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import (
    Activation,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    Flatten,
    FullyConnected,
    GlobalPooling,
    Normalisation,
    Pooling,
    SeparableConvolution,
    TransposedConvolution,
    Upsampling,
)
from menndl_dask.genome.training_gene import Training
from menndl_dask.space.space import SearchSpace
from tests.kinds import EXTRA, GroupedConvolution, GroupNormalisation, Noise
from tests.problems import PROBLEMS

KEYS = {
    Genome(
        (Convolution(24, (3, 5), (2, 1), "valid", activation="elu", normalisation="layer", bias=False),)
    ): "0d347820b929033e",
    Genome((Convolution(8, (1,), dilation=(2,), inputs=(1, 2)),)): "d8bf4abf0245dc86",
    Genome((DepthwiseConvolution((5,), multiplier=2),)): "25899541ed0c9db1",
    Genome((SeparableConvolution(24, (3,), dilation=(2,), activation="gelu"),)): "750ab281ca2417f3",
    Genome((TransposedConvolution(16, (3,), (2, 4)),)): "0a056a65abc559ce",
    Genome((FullyConnected(100, activation="tanh", normalisation="batch"),)): "62fe89b60084cb19",
    Genome((Pooling((3,), (2,), "average", "valid"),)): "c3466a11676eff4f",
    Genome((GlobalPooling("max"),)): "ea22e898661e5418",
    Genome((Flatten(),)): "759aaee77c366e0e",
    Genome((Upsampling((2, 3), "bilinear"),)): "6bb42e23875e5a65",
    Genome((Dropout(0.3),)): "197dddc356f0248a",
    Genome((Normalisation("layer"),)): "a39aab90fbb98466",
    Genome((Activation("silu"),)): "fbf3c042d744a084",
    Genome((GroupNormalisation(4),)): "58328fdd24fdd440",
    Genome((Noise(0.2),)): "4f5710fbeda52c48",
    Genome((GroupedConvolution((3, 1)),)): "45435b6ad45cb205",
    Genome(
        (Training("sgd", 0.01, 64, 1e-4), Convolution(4, normalisation="batch"), GroupNormalisation(2))
    ): "361240a7d21c4385",
    Genome(
        (
            Convolution(8),
            Convolution(8, (5,), inputs=(2,)),
            Pooling(inputs=(1, 2)),
            Flatten(),
            FullyConnected(9),
            Noise(0.1, inputs=(3,)),
            Activation("relu", inputs=(1, 2), join="add"),
        )
    ): "235f00d00022b44a",
    Genome(()): "71857576257465c7",
}

RANDOM = {
    "classes of 2-D images": ["53028355a3f58583", "52a51364e8694346", "abc86fe3ebf88b1c", "7bd58262a11c422c"],
    "numbers of 2-D images": ["53028355a3f58583", "52a51364e8694346", "abc86fe3ebf88b1c", "7bd58262a11c422c"],
    "pixels of 2-D images": ["397d9e39608faaf2", "072dabe7079ed23a", "5b822b946f4deece", "aed3e63cd1789daf"],
    "pixels of odd 2-D images": ["397d9e39608faaf2", "072dabe7079ed23a", "79d11bc36b353b57", "b9c8f03857388fa2"],
    "classes of 1-D images": ["53028355a3f58583", "01a8d49b61f7fb01", "2ac753b41813d551", "69fe862b98267e99"],
    "classes of 3-D images": ["f628a0a1de9e3cfb", "e4653477f891b83c", "f35d0bd6d47eaa3b", "72d559f2d9ff0d78"],
    "pixels of 3-D images": ["74838717aa8760a5", "5edc6d530a8c2f8b", "c546fdf84ab1345c", "24ec800d05e4c0c5"],
    "two views": ["2eac034aa97176af", "f20735d395b2dde1", "d85fa2d660b179cc", "210468b06dd6b575"],
    "two views of pixels": ["e655253df3c51670", "2843df5e16a8549d", "9e8f24932a53353a", "a3dd825631044b1b"],
    "tiny images": ["920e581621000a27", "1c7e22efbb1a634e", "26bc88b740814557", "81cd3f3d48f34b99"],
}

COSTS = {
    "classes of 2-D images": (46675, 5177864.0, 15144652.0, 20006704.0),
    "numbers of 2-D images": (46485, 5177484.0, 15143520.0, 20002640.0),
    "pixels of 2-D images": (205658, 100440128.0, 298324000.0, 165189024.0),
    "pixels of odd 2-D images": (36441, 17475003.0, 51933210.0, 34910608.0),
    "classes of 1-D images": (20805, 1745474.0, 5064300.0, 9176400.0),
    "classes of 3-D images": (246111, 95204897.0, 278821440.0, 85755376.0),
    "pixels of 3-D images": (537981, 850824320.0, 2539078272.0, 395401168.0),
    "two views": (47545, 14131581.0, 38079234.0, 39172240.0),
    "two views of pixels": (169625, 25924128.0, 76807712.0, 41445776.0),
    "tiny images": (70124, 980027.0, 2911826.0, 3430848.0),
}


@pytest.mark.parametrize("genome", KEYS, ids=repr)
def test_the_key_of_a_genome_never_changes(genome: Genome) -> None:
    assert genome.key == KEYS[genome]


@pytest.mark.parametrize("name", RANDOM)
def test_the_same_seed_draws_the_same_networks(name: str) -> None:
    assert _drawn(name)[0] == RANDOM[name]


@pytest.mark.parametrize("name", COSTS)
def test_a_network_costs_what_it_did(name: str) -> None:
    assert _drawn(name)[1] == COSTS[name]


def _drawn(name: str) -> tuple[list[str], tuple[int, float, float, float]]:
    """Return the keys of some networks drawn for a problem, and what they cost together."""
    space = SearchSpace.image(PROBLEMS[name], training=True, extra=EXTRA)
    drawn = [space.sample(np.random.default_rng(seed)) for seed in range(4)]
    costs = [cost_of(genome, PROBLEMS[name]) for genome in drawn]
    return [genome.key for genome in drawn], (
        sum(cost.parameters for cost in costs),
        sum(cost.flops_forward for cost in costs),
        sum(cost.flops_training for cost in costs),
        sum(cost.memory_bytes(32) for cost in costs),
    )
