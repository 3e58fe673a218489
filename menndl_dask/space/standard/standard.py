"""Standard networks, with which the best network of a search is compared, as genomes. Runs on the driver.

A search is worth its cost only if its network is better than the first that one would try. The standard network is
trained and measured like any other genome, with the same budget. Besides the small ones there are published networks,
each of which has a name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from menndl_dask.errors import UserError, nearest
from menndl_dask.genome.genome import Genome
from menndl_dask.problem import Problem
from menndl_dask.space.stages import Stage, stages, usual_normalisation
from menndl_dask.space.standard.classification.conv_next import conv_next_tiny
from menndl_dask.space.standard.classification.efficient_net import efficient_net_b0
from menndl_dask.space.standard.classification.google_net import google_net
from menndl_dask.space.standard.classification.le_net import le_net_5
from menndl_dask.space.standard.classification.mobile_net import mobile_net_v2
from menndl_dask.space.standard.classification.res_net import res_net_18, res_net_50
from menndl_dask.space.standard.classification.residual_network import residual_network
from menndl_dask.space.standard.classification.vgg import vgg_16
from menndl_dask.space.standard.segmentation.deep_lab import deep_lab_v3
from menndl_dask.space.standard.segmentation.fcn import fcn_8s
from menndl_dask.space.standard.segmentation.u_net import u_net
from menndl_dask.space.standard.segmentation.u_net_3d import u_net_3d
from menndl_dask.space.standard.segmentation.u_net_full import u_net_full
from menndl_dask.space.standard.segmentation.u_net_planned import u_net_planned
from menndl_dask.space.standard.segmentation.u_net_plus_plus import u_net_plus_plus

_LEAST = (4, 4, 4)  # pixels along an axis that are left after each halving
_LEAST_OF_LARGE = 8  # after a fourth one, of images for segmentation
_STANDARD: dict[str, tuple[str, Callable[[Sequence[Stage], int, str], Genome]]] = {
    "segmentation": ("U-Net, small", u_net),
    "classification": ("ResNet, small", residual_network),
    "regression": ("ResNet, small", residual_network),
}
_WHOLE, _PIXELS = ("classification", "regression"), ("segmentation",)


def standard_network(problem: Problem) -> tuple[str, Genome]:
    """Return the name and the genome of the network that is standard for a problem's task.

    Raises
    ------
    UserError
        If the images are too small for it.
    """
    _check_size(problem)
    dense = problem.by_pixel
    name, network = _STANDARD["segmentation" if dense else problem.task]
    found = stages(problem, (*_LEAST, _LEAST_OF_LARGE) if dense else _LEAST)
    return name, network(found, len(problem.facts.input_shapes), usual_normalisation(problem))


@dataclass(frozen=True, slots=True)
class StandardNetwork:
    """A standard network that is called by its name.

    Parameters
    ----------
    title
        As tables and figures have it.
    tasks, ranks
        For which it exists.
    network
        Returns its genome for a problem.
    """

    title: str
    tasks: tuple[str, ...]
    network: Callable[[Problem], Genome]
    ranks: tuple[int, ...] = (1, 2, 3)

    def suits(self, problem: Problem) -> bool:
        """Tell whether it exists for the task of a problem, and for images of so many axes."""
        task = "segmentation" if problem.by_pixel else problem.task
        return task in self.tasks and problem.rank in self.ranks


def _small(problem: Problem) -> Genome:
    return standard_network(problem)[1]


STANDARD_NETWORKS: dict[str, StandardNetwork] = {
    "resnet_small": StandardNetwork("ResNet, small", _WHOLE, _small),
    "lenet5": StandardNetwork("LeNet-5", _WHOLE, le_net_5),
    "vgg16": StandardNetwork("VGG-16", _WHOLE, vgg_16),
    "googlenet": StandardNetwork("GoogLeNet", _WHOLE, google_net),
    "resnet18": StandardNetwork("ResNet-18", _WHOLE, res_net_18),
    "resnet50": StandardNetwork("ResNet-50", _WHOLE, res_net_50),
    "mobilenet_v2": StandardNetwork("MobileNetV2", _WHOLE, mobile_net_v2),
    "efficientnet_b0": StandardNetwork("EfficientNet-B0", _WHOLE, efficient_net_b0),
    "convnext_tiny": StandardNetwork("ConvNeXt-tiny", _WHOLE, conv_next_tiny),
    "unet_small": StandardNetwork("U-Net, small", _PIXELS, _small),
    "unet_full": StandardNetwork("U-Net", _PIXELS, u_net_full),
    "unet_plus_plus": StandardNetwork("U-Net++", _PIXELS, u_net_plus_plus),
    "unet_3d": StandardNetwork("3-D U-Net", _PIXELS, u_net_3d, ranks=(3,)),
    "unet_planned": StandardNetwork("U-Net, planned", _PIXELS, u_net_planned),
    "fcn8s": StandardNetwork("FCN-8s", _PIXELS, fcn_8s),
    "deeplab_v3": StandardNetwork("DeepLabv3", _PIXELS, deep_lab_v3),
}


def standard_networks(problem: Problem) -> list[str]:
    """Return the names of the standard networks that suit a problem; none for images of single pixels.

    >>> from menndl_dask.problem import Facts
    >>> volumes = Facts(input_shapes=((32, 64, 64, 1),), outputs=2)
    >>> standard_networks(Problem("cells.zarr", "segmentation", volumes))
    ['unet_small', 'unet_full', 'unet_plus_plus', 'unet_3d', 'unet_planned', 'fcn8s', 'deeplab_v3']
    """
    if _extent(problem) < 2:
        return []
    return [name for name, standard in STANDARD_NETWORKS.items() if standard.suits(problem)]


def named_network(name: str, problem: Problem) -> tuple[str, Genome]:
    """Return the title and the genome of the standard network of that name.

    Raises
    ------
    UserError
        If there is none of this name, it does not suit the problem, or the images are too small.
    """
    _check_size(problem)
    if name not in STANDARD_NETWORKS:
        known = f"{nearest(name, STANDARD_NETWORKS)}; there are {', '.join(standard_networks(problem))}"
        raise UserError(f"standard network: unknown name {name!r}{known}")
    standard = STANDARD_NETWORKS[name]
    if not standard.suits(problem):
        expected = f"{' or '.join(standard.tasks)} of images with {' or '.join(map(str, standard.ranks))} axes"
        got = (
            f"{problem.task} of images with {problem.rank}, for which there are {', '.join(standard_networks(problem))}"
        )
        raise UserError(f"standard network {name}: exists for {expected}, got {got}")
    return standard.title, standard.network(problem).canonical()


def _check_size(problem: Problem) -> None:
    if (extent := _extent(problem)) < 2:
        raise UserError(f"standard network: expected images of at least 2 pixels a side, got {extent}")


def _extent(problem: Problem) -> int:
    return min(min(shape[:-1]) for shape in problem.facts.input_shapes)
