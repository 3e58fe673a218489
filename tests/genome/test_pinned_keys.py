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
    "classes of 2-D images": ["53028355a3f58583", "52a51364e8694346", "032262e541a44a97", "7bd58262a11c422c"],
    "numbers of 2-D images": ["53028355a3f58583", "52a51364e8694346", "032262e541a44a97", "7bd58262a11c422c"],
    "pixels of 2-D images": ["397d9e39608faaf2", "072dabe7079ed23a", "ca6de70fe9789346", "78fa8544e2a6a2a1"],
    "pixels of odd 2-D images": ["397d9e39608faaf2", "072dabe7079ed23a", "b1763cedfd0ea435", "0333403432dd4d74"],
    "classes of 1-D images": ["53028355a3f58583", "01a8d49b61f7fb01", "96e6091866702261", "69fe862b98267e99"],
    "classes of 3-D images": ["f628a0a1de9e3cfb", "d4307c4d587b45cb", "b5f030cf43c452c9", "71f3118e02ceb734"],
    "pixels of 3-D images": ["74838717aa8760a5", "5edc6d530a8c2f8b", "03f90ed3af43c4c4", "86329fed83d38a77"],
    "two views": ["2eac034aa97176af", "f20735d395b2dde1", "ed7d0ee2aceaa2a5", "210468b06dd6b575"],
    "two views of pixels": ["e655253df3c51670", "2843df5e16a8549d", "3ada10d400d712b6", "1a338a2cb6ae3284"],
    "tiny images": ["920e581621000a27", "1c7e22efbb1a634e", "26bc88b740814557", "a97d2c855fb2bca1"],
}

COSTS = {
    "classes of 2-D images": (70395, 5263067.0, 15491217.0, 20428720.0),
    "numbers of 2-D images": (70194, 5262665.0, 15490011.0, 20424480.0),
    "pixels of 2-D images": (192256, 131239872.0, 391626560.0, 163090432.0),
    "pixels of odd 2-D images": (26861, 10903326.0, 32390358.0, 28553424.0),
    "classes of 1-D images": (33186, 1712391.0, 5016853.0, 9040928.0),
    "classes of 3-D images": (252458, 109377824.0, 321732192.0, 88862112.0),
    "pixels of 3-D images": (159982, 639514624.0, 1907386368.0, 307498720.0),
    "two views": (47845, 14275581.0, 38647959.0, 39299920.0),
    "two views of pixels": (187092, 33762080.0, 100537696.0, 40709440.0),
    "tiny images": (27743, 529788.0, 1575284.0, 2306544.0),
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
