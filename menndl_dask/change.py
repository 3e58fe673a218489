"""The ways in which training images are changed at random, by their names. Pure.

:func:`read_change` reads one word of `Problem.augmentation`, such as ``flip=x`` or ``noise=0.05``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from menndl_dask.errors import UserError, nearest

AXES = "zyx"  # names of the spatial axes, the last ones of an image with fewer
_COARSE = 2.0  # times the smallest spacing: an axis of more is not turned into a finer one
_MOST_DEGREES = 180.0


@dataclass(frozen=True, slots=True)
class Change:
    """One way in which training images are changed at random; see `Problem.augmentation`."""

    name: str  # one of `AUGMENTATIONS`, or ``module:Class``
    axes: str = ""  # names of the spatial axes that a flip is along
    amount: float = 0.0  # see `AUGMENTATIONS`; 0 for ``flip``, and for ``rotate`` by multiples of 90°


@dataclass(frozen=True, slots=True)
class Amount:
    """What the number after the name of a change may be."""

    default: float
    most: float = math.inf


AUGMENTATIONS: Mapping[str, Amount | None] = {
    # moves of pixels
    "flip": None,
    "rotate": None,
    "shift": Amount(0.125, 0.5),
    "scale": Amount(0.2, 1.0),
    "shear": Amount(0.1, 1.0),
    "elastic": Amount(0.03, 0.1),
    # changes of values
    "brightness": Amount(0.2),
    "contrast": Amount(0.25),
    "gamma": Amount(0.3),
    "blur": Amount(1.0, 5.0),
    "noise": Amount(0.1),
    "cutout": Amount(0.25, 1.0),
}
"""The changes by name, and their amounts unless said otherwise.

``shift``, ``elastic`` and ``cutout``: in shares of the image's size. ``scale``, ``contrast`` and ``gamma``: the factor
or exponent is between 1 / (1 + amount) and 1 + amount. ``shear``: the tangent of the angle. ``brightness`` and
``noise``: in units of the channel's standard deviation. ``blur``: standard deviation of the kernel in pixels.
``rotate``: in degrees.
"""

MOVES = ("flip", "rotate", "shift", "scale", "shear", "elastic")  # of pixels, and so of the labels of pixels


def fine_axes(rank: int, spacing: Sequence[float] = ()) -> tuple[int, ...]:
    """Return the axes along which pixels are about as close as along the finest one, by at most a factor of 2.

    Images are turned, sheared, scaled and deformed in these axes only: across sections that are far apart there is no
    value between two pixels. Without a known spacing, these are all axes, but of a volume only y and x.

    >>> fine_axes(3), fine_axes(3, (40, 4, 4)), fine_axes(3, (8, 8, 8)), fine_axes(2)
    ((1, 2), (1, 2), (0, 1, 2), (0, 1))
    """
    if not spacing:
        return tuple(range(rank))[-2:]
    return tuple(axis for axis, size in enumerate(spacing) if size <= _COARSE * min(spacing))


def read_change(text: str, shapes: Sequence[Sequence[int]], spacing: Sequence[float] = ()) -> Change:
    """Read one word of an augmentation for images of these shapes; raises `UserError` if it does not suit them.

    >>> read_change("rotate=15", [(64, 48, 1)]), read_change("flip", [(64, 48, 1)])
    (Change(name='rotate', axes='', amount=15.0), Change(name='flip', axes='yx', amount=0.0))
    """
    if ":" in text:
        return Change(text)
    name, _, value = text.partition("=")
    if name not in AUGMENTATIONS:
        expected = f"{', '.join(AUGMENTATIONS)} or module:Class"
        raise UserError(f"augmentation: expected {expected}, got {text!r}{nearest(name, AUGMENTATIONS)}")
    rank = len(shapes[0]) - 1
    if name == "flip":
        axes = AXES[-rank:]
        if not set(value) <= set(axes):
            raise UserError(f"augmentation: flip: expected axes among {', '.join(axes)}, got {value!r}")
        return Change(name, axes=value or axes)
    if name == "rotate" and not value:
        uneven = next((shape for shape in shapes if len(shape) < 3 or shape[-3] != shape[-2]), None)
        if uneven is not None:
            size = "×".join(map(str, uneven[:-1]))
            expected = "images as high as wide, or degrees (rotate=15)"
            raise UserError(f"augmentation: rotate: expected {expected}, got {size}")
        return Change(name)
    if name in ("rotate", "shear") and len(fine_axes(rank, spacing)) < 2:
        got = f"images with {rank}" if rank < 2 else f"pixels of {' × '.join(f'{size:g}' for size in spacing)}"
        raise UserError(f"augmentation: {name}: expected two axes with pixels of about the same size, got {got}")
    return Change(name, amount=_amount(name, value))


def _amount(name: str, value: str) -> float:
    kind = AUGMENTATIONS[name] or Amount(_MOST_DEGREES, _MOST_DEGREES)
    try:
        amount = float(value) if value else kind.default
    except ValueError:
        amount = math.nan
    if not 0 < amount <= kind.most or math.isinf(amount):
        most = "" if math.isinf(kind.most) else f" and ≤ {kind.most:g}"
        raise UserError(f"augmentation: {name}: expected a number > 0{most}, got {value!r}")
    return amount
