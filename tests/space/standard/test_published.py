"""Published networks in `standard`: their parameters, for which problems they are, and how Keras builds them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import keras
import pytest

from menndl_dask.errors import UserError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.genome.layers import Convolution, DepthwiseConvolution, Pooling, Weighted
from menndl_dask.problem import Budget, Problem
from menndl_dask.space.standard.standard import STANDARD_NETWORKS, named_network, standard_networks
from tests.problems import PROBLEMS, problem

PHOTOGRAPHS = (224, 224, 3)
# the number that was published, and for which images and outputs
PUBLISHED = {
    "lenet5": (61_706, (32, 32, 1), 10),  # 60,000 in the article, with fewer connections
    "vgg16": (138_357_544, PHOTOGRAPHS, 1000),
    "googlenet": (6_998_552, PHOTOGRAPHS, 1000),
    "resnet18": (11_689_512, PHOTOGRAPHS, 1000),
    "resnet50": (25_557_032, PHOTOGRAPHS, 1000),
    "mobilenet_v2": (3_504_872, PHOTOGRAPHS, 1000),
    "efficientnet_b0": (5_288_548, PHOTOGRAPHS, 1000),
    "convnext_tiny": (28_589_128, PHOTOGRAPHS, 1000),
    "unet_full": (31_037_698, (96, 96, 3), 2),
    "unet_plus_plus": (9_041_601, (96, 96, 1), 1),
    "unet_3d": (19_069_955, (132, 132, 116, 3), 3),
    "fcn8s": (134_376_863, PHOTOGRAPHS, 21),
    "deeplab_v3": (39_638_869, (513, 513, 3), 21),
}
# networks in which each of these is left out, to count what was published
NO_STATISTICS, NO_BIAS, NO_NORMALISATION = "moving statistics", "biases before a normalisation", "normalisation"
WITHOUT = {
    "googlenet": (NO_NORMALISATION,),
    "resnet18": (NO_STATISTICS, NO_BIAS),
    "resnet50": (NO_STATISTICS, NO_BIAS),
    "mobilenet_v2": (NO_STATISTICS,),
    "efficientnet_b0": (NO_STATISTICS,),
    "unet_full": (NO_STATISTICS, NO_BIAS),
    "unet_plus_plus": (NO_NORMALISATION,),
    "unet_3d": (NO_NORMALISATION,),
    "deeplab_v3": (NO_STATISTICS, NO_BIAS),
}


def of_published_size(name: str) -> Problem:
    _, shape, outputs = PUBLISHED[name]
    task = STANDARD_NETWORKS[name].tasks[0]
    return problem(task, (shape,), outputs, budget=Budget(epochs=1, batch_size=32))


def _left_out(name: str, genome: Genome, of: Problem) -> int:
    count, costs = 0, cost_of(genome, of).layers
    for layer, cost in zip(genome.layers, costs, strict=False):
        if getattr(layer, "normalisation", "none") == "batch":
            channels = cost.shape[-1]
            count += channels * (2 * (NO_STATISTICS in WITHOUT.get(name, ())))
            count += channels * (NO_BIAS in WITHOUT.get(name, ())) * getattr(layer, "bias", False)
            count += channels * (4 * (NO_NORMALISATION in WITHOUT.get(name, ())))
    return count


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_has_the_published_number_of_parameters(name: str) -> None:
    of = of_published_size(name)
    _, genome = named_network(name, of)
    # the head of FCN-8s: a convolution of single pixels in the place of enlarging with weights, which are not counted
    head = 21 * 21 + 21 if name == "fcn8s" else 0
    assert cost_of(genome, of).parameters - _left_out(name, genome, of) - head == PUBLISHED[name][0]


def test_the_planned_u_net_of_volumes_of_128_voxels_has_31_million_parameters() -> None:
    of = problem("segmentation", ((128, 128, 128, 4),), 4)
    _, genome = named_network("unet_planned", of)
    widths = [layer.kernels for layer in genome.layers if isinstance(layer, Convolution)]
    assert widths[:12] == [32, 32, 64, 64, 128, 128, 256, 256, 320, 320, 320, 320]
    assert {layer.normalisation for layer in genome.layers if isinstance(layer, Convolution)} == {"instance"}
    assert not any(isinstance(layer, Pooling) for layer in genome.layers)  # strides make the image smaller
    assert min(shape for cost in cost_of(genome, of).layers for shape in cost.shape[:-1]) == 4
    assert round(cost_of(genome, of).parameters / 1e6, 1) == 31.2


def test_the_planned_u_net_of_sections_that_are_far_apart_halves_sections_first() -> None:
    of = problem("segmentation", ((16, 64, 64, 1),))
    of = replace(of, facts=replace(of.facts, spacing=(40.0, 8.0, 8.0)))
    _, genome = named_network("unet_planned", of)
    strides = [g.stride for g in genome.layers if isinstance(g, Convolution) and g.stride != (1,)]
    assert strides == [(1, 2, 2), (1, 2, 2), (2,), (2,)]
    assert genome.layers[0].to_dict()["kernel_size"] == [1, 3, 3]


@pytest.mark.parametrize("of", PROBLEMS.values(), ids=list(PROBLEMS))
def test_every_network_that_suits_a_problem_can_be_built_for_it(of: Problem) -> None:
    names = standard_networks(of)
    assert len(names) >= 6
    for name in names:
        title, genome = named_network(name, of)
        assert title == STANDARD_NETWORKS[name].title
        last = cost_of(genome, of).layers[-1]
        assert last.shape == ((*of.facts.input_shapes[0][:-1], 3) if of.task == "segmentation" else (of.facts.outputs,))


@pytest.mark.parametrize("size", [2, 7, 33, 100])
@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_networks_fit_images_of_any_size(task: str, size: int) -> None:
    of = problem(task, ((size, size + size // 3, 2),), budget=Budget(epochs=1, batch_size=1))
    for name in standard_networks(of):
        assert cost_of(named_network(name, of)[1], of).parameters > 1000


def test_the_first_halvings_are_left_out_for_small_images() -> None:
    _, small = named_network("resnet50", problem(shapes=((32, 32, 3),)))
    steps = [layer for layer in small.layers if getattr(layer, "stride", (1,)) != (1,)]
    assert len(steps) == 2 * 3  # in three stages: of the branch and of the shortcut
    assert not any(isinstance(layer, Pooling) for layer in small.layers)
    _, middle = named_network("resnet50", problem(shapes=((64, 64, 3),)))
    assert [layer.stride for layer in middle.layers if isinstance(layer, Pooling)] == [(2,)]
    assert cost_of(small, problem(shapes=((32, 32, 3),))).parameters == 25_636_712 - 2049 * 1000 + 2049 * 3


def test_unequal_steps_of_a_depthwise_convolution_are_left_to_a_pooling() -> None:
    of = problem(shapes=((8, 100, 3),))
    _, genome = named_network("mobilenet_v2", of)
    assert {layer.stride for layer in genome.layers if isinstance(layer, DepthwiseConvolution)} == {(1,), (2,)}
    assert {layer.stride for layer in genome.layers if isinstance(layer, Pooling)} == {(1, 2)}
    assert cost_of(genome, of).layers[-3].shape == (4, 7, 1280)


@pytest.mark.parametrize(
    ("name", "of", "message"),
    [
        (
            "resnet_50",
            problem(),
            r"unknown name 'resnet_50'; did you mean 'resnet50'\?; there are resnet_small, lenet5",
        ),
        (
            "resnet50",
            problem("segmentation"),
            r"resnet50: exists for classification or .*, for which there are unet_small",
        ),
        (
            "unet_3d",
            problem("segmentation"),
            r"exists for segmentation of images with 3 axes, got .* with 2, for which",
        ),
        ("vgg16", problem(shapes=((1, 40, 1),)), "at least 2 pixels a side, got 1"),
    ],
)
def test_a_network_that_does_not_exist_is_refused_in_a_line(name: str, of: Problem, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        named_network(name, of)
    assert len(str(refused.value)) <= 500
    assert "\n" not in str(refused.value)


def test_images_of_one_pixel_have_no_networks() -> None:
    assert standard_networks(problem(shapes=((1, 40, 1),))) == []


# --- in Keras -------------------------------------------------------------------------------------------------------

TINY = {"classification": problem(shapes=((2, 2, 1),)), "segmentation": problem("segmentation", ((2, 2, 1),))}
SMALL = {"classification": problem(shapes=((8, 8, 1),)), "segmentation": problem("segmentation", ((8, 8, 1),))}
IN_KERAS = {
    "resnet50": "ResNet50",
    "mobilenet_v2": "MobileNetV2",
    "efficientnet_b0": "EfficientNetB0",
    "convnext_tiny": "ConvNeXtTiny",
}
NORMALISATION_OF_IMAGES = 2 * 3 + 1  # weights that Keras's EfficientNet has for it


@pytest.fixture
def without_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with weights of zero, as drawing millions of them takes most of the time."""
    monkeypatch.setattr(Weighted, "initial_weights", lambda *_: keras.initializers.Zeros())


@pytest.mark.usefixtures("without_draws")
@pytest.mark.parametrize("name", [n for n in STANDARD_NETWORKS if not n.endswith("_small") and n not in IN_KERAS])
def test_keras_builds_what_was_counted_and_encodes_it_again(name: str) -> None:
    standard = STANDARD_NETWORKS[name]
    wide = name in ("vgg16", "fcn8s", "deeplab_v3")  # or else it would take seconds to draw the weights
    of = (
        problem("segmentation", ((8, 8, 8, 1),))
        if standard.ranks == (3,)
        else (TINY if wide else SMALL)[standard.tasks[0]]
    )
    _, genome = named_network(name, of)
    model = decode(genome, of)
    assert model.count_params() == cost_of(genome, of).parameters
    assert encode(model) == genome


def _weights(model: keras.Model) -> Counter[tuple[Any, ...]]:
    """Return how many layers with weights have each shape of output and shapes of weights, axes of one left out."""
    within = (layer.layers if isinstance(layer, keras.Sequential) else [layer] for layer in model.layers)
    layers = [layer for layers in within for layer in layers if layer.count_params()]
    return Counter(
        (tuple(layer.output.shape[1:]), tuple(tuple(n for n in weight.shape if n > 1) for weight in layer.weights))
        for layer in layers
        if "ormalization" not in type(layer).__name__
    )


@pytest.mark.usefixtures("without_draws")
@pytest.mark.parametrize("name", IN_KERAS)
def test_a_network_has_the_shapes_and_weights_of_keras(name: str) -> None:
    theirs = getattr(keras.applications, IN_KERAS[name])(weights=None)
    of = of_published_size(name)
    _, genome = named_network(name, of)
    ours = decode(genome, of)
    assert ours.count_params() == cost_of(genome, of).parameters
    extra = NORMALISATION_OF_IMAGES if name == "efficientnet_b0" else 0
    assert ours.count_params() + extra == theirs.count_params()
    assert _weights(ours) == _weights(theirs)
    assert encode(ours) == genome


def test_vgg_16_has_the_convolutions_of_keras() -> None:
    theirs = keras.applications.VGG16(include_top=False, weights=None, input_shape=PHOTOGRAPHS)
    of = of_published_size("vgg16")
    ours = cost_of(named_network("vgg16", of)[1], of).layers
    expected = [
        (tuple(layer.output.shape[1:]), layer.count_params()) for layer in theirs.layers if layer.count_params()
    ]
    assert [(layer.shape, layer.parameters) for layer in ours if layer.name == "Convolution"] == expected
