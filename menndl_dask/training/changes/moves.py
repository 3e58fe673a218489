"""Random moves of pixels, combined into one map of positions for each sample. Runs in the training process.

Where a pixel comes from is one affine map of its place (flips, rotations, shear, scale, shift) plus a smooth random
displacement (elastic). So several moves cost as much as one: every view is gathered once by this map, labels at the
nearest pixel and images between neighbouring pixels, in as many gathers as there are neighbours. Flips, right angles
and shifts lead from pixel to pixel, and need one gather only.

Keras's layers for this (`RandomRotation` and the like) are for 2-D images without a margin, and interpolate once for
each layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, permutations, product
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from menndl_dask.change import AXES, MOVES, Change, fine_axes

Tensor = Any  # of the Keras backend
Array = NDArray[np.float32]
_BETWEEN_PIXELS = ("turn", "scale", "shear", "elastic")
_INTERVALS = 4  # between the control points of an elastic deformation, along each axis


class Moves:
    """The moves of an augmentation.

    Parameters
    ----------
    changes
        Those of the problem, of which the moves are used.
    size
        Pixels of a sample along each spatial axis, after the moves.
    spacing
        Size of a pixel along each axis; empty if it is not known.
    """

    def __init__(self, changes: Sequence[Change], size: Sequence[int], spacing: Sequence[float] = ()) -> None:
        self._changes = {
            "turn" if change.name == "rotate" and change.amount else change.name: change
            for change in changes
            if change.name in MOVES
        }
        self._size = tuple(size)
        self._spacing = tuple(spacing) or (1.0,) * len(size)
        fine = fine_axes(len(size), spacing)
        self._fine = fine if any(name in self._changes for name in _BETWEEN_PIXELS) else ()

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._changes)

    def _amount(self, name: str) -> float:
        return self._changes[name].amount if name in self._changes else 0.0

    def margin(self) -> tuple[int, ...]:
        """Return how many pixels from beyond the edge the moves need at most, along each axis."""
        half = [(pixels - 1) / 2 for pixels in self._size]
        reach = [h * spacing for h, spacing in zip(half, self._spacing, strict=True)]
        angle = math.radians(self._amount("turn"))
        for i, j in combinations(self._fine, 2):
            reach[i], reach[j] = _turned(reach[i], reach[j], angle), _turned(reach[j], reach[i], angle)
        of_fine = sum(reach[axis] for axis in self._fine)
        factor = 1.0 + self._amount("scale")
        for axis in self._fine:
            reach[axis] = factor * (reach[axis] + self._amount("shear") * (of_fine - reach[axis]))
        pixels = [r / spacing for r, spacing in zip(reach, self._spacing, strict=True)]
        if "rotate" in self._changes:
            pixels[-2:] = [max(pixels[-2:])] * 2
        for axis, size in enumerate(self._size):
            pixels[axis] += round(self._amount("shift") * size)
            pixels[axis] += self._amount("elastic") * size * (axis in self._fine)
        return tuple(max(0, math.ceil(p - h - 1e-6)) for p, h in zip(pixels, half, strict=True))

    def draw(self, count: Tensor, seeds: keras.random.SeedGenerator) -> dict[str, Tensor]:
        """Draw what happens to each sample.

        Moves between pixels happen to half of the samples: interpolated images are a little blurred, and the network
        must know sharp ones too.
        """
        rank = len(self._size)
        names = [f"{name} {axis}" for name in ("flip", "shift") for axis in range(rank)] + ["rotate", "moved", "scale"]
        names += [f"turn {i} {j}" for i, j in combinations(range(rank), 2)]
        names += [f"shear {i} {j}" for i, j in permutations(range(rank), 2)]
        uniform = keras.random.uniform((count, len(names)), seed=seeds)
        drawn = {name: uniform[:, number] for number, name in enumerate(names)}
        moved = ops.cast(drawn["moved"] < 0.5, "float32")
        for name in names:
            if name.startswith(("turn", "shear", "scale")):
                drawn[name] = moved * (2.0 * drawn[name] - 1.0)
        if "elastic" in self._changes:
            points = (_INTERVALS + 3,) * rank
            field = keras.random.uniform((count, len(self._fine), *points), -1.0, 1.0, seed=seeds)
            drawn["elastic"] = field * ops.reshape(moved, (-1, *(1,) * (rank + 1)))
        return drawn

    def positions(self, drawn: Mapping[str, Tensor], size: Sequence[int], given: Sequence[int]) -> list[Tensor]:
        """Return for each axis the places ``(sample, spatial…)`` in an image of `given` size where pixels come from.

        `size` is that after the moves. Without a margin, places beyond the edge are mirrored into the image.
        """
        rank = len(size)
        # a view of another size shows the same field with pixels of another size
        spacing = [s * own / n for s, own, n in zip(self._spacing, self._size, size, strict=True)]
        matrix, offset = self._affine(drawn, size, spacing)
        centred = [np.arange(n, dtype="float32") - np.float32((n - 1) / 2) for n in size]
        fields = _elastic(drawn["elastic"], size) if "elastic" in self._changes else []
        places = []
        for i in range(rank):
            place = ops.reshape(offset[:, i] + (given[i] - 1) / 2, (-1, *(1,) * rank))
            for j in range(rank):
                shape = [-1 if axis == j else 1 for axis in range(rank)]
                along = ops.reshape(ops.convert_to_tensor(centred[j]), (1, *shape))
                place = place + ops.reshape(matrix[:, i, j], (-1, *(1,) * rank)) * along
            if fields and i in self._fine:
                place = place + self._amount("elastic") * size[i] * fields[self._fine.index(i)]
            if given[i] == size[i] and set(self._changes) - {"flip", "rotate"}:
                place = given[i] - ops.abs(ops.mod(place + 0.5, 2.0 * given[i]) - given[i]) - 0.5
            places.append(ops.clip(place, 0.0, given[i] - 1.0))
        return places

    def _affine(
        self, drawn: Mapping[str, Tensor], size: Sequence[int], spacing: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """Return matrix ``(sample, axis, axis)`` and offset ``(sample, axis)`` of the places, seen from the centre."""
        rank = len(size)
        same = ops.convert_to_tensor(np.eye(rank, dtype="float32"))
        matrix = same[None]
        if "turn" in self._changes:
            for i, j in combinations(self._fine, 2):
                angle = math.radians(self._amount("turn")) * drawn[f"turn {i} {j}"]
                cosine, sine = _entries(rank, [(i, i), (j, j)]), _entries(rank, [(i, j)]) - _entries(rank, [(j, i)])
                turn = _each(ops.cos(angle) - 1.0) * cosine + _each(ops.sin(angle)) * sine
                matrix = ops.matmul(same + turn, matrix)
        if "shear" in self._changes:
            tangents = [
                _each(self._amount("shear") * drawn[f"shear {i} {j}"]) * _entries(rank, [(i, j)])
                for i, j in permutations(self._fine, 2)
            ]
            matrix = ops.matmul(same + sum(tangents), matrix)
        if "scale" in self._changes:
            factor = ops.exp(math.log1p(self._amount("scale")) * drawn["scale"])
            scale = _each(factor - 1.0) * _entries(rank, [(i, i) for i in self._fine])
            matrix = ops.matmul(same + scale, matrix)
        in_pixels = np.array([[to / of for to in spacing] for of in spacing], dtype="float32")
        matrix = matrix * ops.convert_to_tensor(in_pixels)
        directions = [self._flip_sign(drawn, axis) for axis in range(rank)]
        if "rotate" in self._changes:
            quarter = ops.floor(4.0 * drawn["rotate"])
            is_odd = ops.cast(ops.logical_or(quarter == 1, quarter == 3), "float32")
            y, x = rank - 2, rank - 1
            exchange = _entries(rank, [(y, x), (x, y)]) - _entries(rank, [(y, y), (x, x)])
            matrix = ops.matmul(same + _each(is_odd) * exchange, matrix)
            for axis, other in ((y, 3), (x, 1)):
                is_back = ops.logical_or(quarter == 2, quarter == other)
                directions[axis] = directions[axis] * (1.0 - 2.0 * ops.cast(is_back, "float32"))
        sign = ops.stack(directions, axis=1)
        offsets = [
            ops.round(self._amount("shift") * n * (2.0 * drawn[f"shift {axis}"] - 1.0)) for axis, n in enumerate(size)
        ]
        return ops.expand_dims(sign, -1) * matrix, sign * ops.stack(offsets, axis=1)

    def _flip_sign(self, drawn: Mapping[str, Tensor], axis: int) -> Tensor:
        value = drawn[f"flip {axis}"]
        if "flip" in self._changes and AXES[-len(self._size) :][axis] in self._changes["flip"].axes:
            return 1.0 - 2.0 * ops.cast(value < 0.5, "float32")
        return ops.ones_like(value)

    def nearest(self, values: Tensor, places: Sequence[Tensor]) -> Tensor:
        """Return labels ``(sample, spatial…)`` or images ``(sample, spatial…, channel)`` of the nearest pixels."""
        return _gathered(values, [ops.cast(ops.floor(place + 0.5), "int32") for place in places])

    def between(self, values: Tensor, places: Sequence[Tensor]) -> Tensor:
        """Return images, with linear interpolation along the axes along which places are between pixels."""
        if not self._fine:
            return self.nearest(values, places)
        given = values.shape[1:]
        low = [ops.cast(ops.floor(place), "int32") for place in places]
        high = [ops.minimum(place + 1, size - 1) for place, size in zip(low, given, strict=False)]
        share = [place - ops.floor(place) for place in places]
        total = None
        for corner in product((0, 1), repeat=len(self._fine)):
            chosen, weight = list(low), None
            for axis, is_high in zip(self._fine, corner, strict=True):
                part = share[axis] if is_high else 1.0 - share[axis]
                weight = part if weight is None else weight * part
                chosen[axis] = high[axis] if is_high else low[axis]
            found = ops.expand_dims(weight, -1) * _gathered(values, chosen)
            total = found if total is None else total + found
        return total


def _turned(reach: float, other: float, angle: float) -> float:
    """Return how far a box reaches along an axis when it is turned by up to an angle into another axis."""
    angle = min(angle, math.atan2(other, reach))
    return reach * math.cos(angle) + other * math.sin(angle)


def _entries(rank: int, places: Sequence[tuple[int, int]]) -> Tensor:
    """Return a matrix with ones at some places."""
    matrix = np.zeros((rank, rank), dtype="float32")
    for place in places:
        matrix[place] = 1.0
    return ops.convert_to_tensor(matrix)


def _each(values: Tensor) -> Tensor:
    """Return a value for each sample, to be multiplied with a matrix."""
    return ops.reshape(values, (-1, 1, 1))


def _elastic(control: Tensor, size: Sequence[int]) -> list[Tensor]:
    """Return smooth fields ``(sample, spatial…)`` from control points ``(sample, field, point…)``, not beyond them."""
    field = control
    for pixels in size:  # the first axis is replaced by one at the end
        field = ops.tensordot(field, ops.convert_to_tensor(_spline(pixels)), axes=[[2], [1]])
    return [field[:, number] for number in range(control.shape[1])]


def _spline(pixels: int) -> Array:
    """Return the weights ``(pixel, control point)`` of a uniform cubic B-spline, which are ≥ 0 and have the sum 1."""
    place = (np.arange(pixels) + 0.5) / pixels * _INTERVALS
    distance = np.abs(place[:, None] - (np.arange(_INTERVALS + 3) - 1))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2.0 - distance, 0.0) ** 3 / 6
    return np.where(distance < 1, near, far).astype("float32")


def _gathered(values: Tensor, places: Sequence[Tensor]) -> Tensor:
    """Return images ``(sample, spatial…, channel)`` or labels ``(sample, spatial…)``, pixels taken from elsewhere."""
    rank = len(places)
    given, channels = tuple(values.shape[1 : rank + 1]), tuple(values.shape[rank + 1 :])
    position = ops.reshape(ops.arange(ops.shape(values)[0], dtype="int32"), (-1, *(1,) * rank))
    for place, size in zip(places, given, strict=True):
        position = position * size + place
    return ops.take(ops.reshape(values, (-1, *channels)), position, axis=0)
