"""Context: how far around a pixel a network for segmentation looks, computed from its genome. Pure.

Large images are predicted in tiles. A pixel of a tile is predicted as in the whole image where the tile shows all that
the network looks at for this pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer, Shape, Window
from menndl_dask.genome.layers import GlobalPooling
from menndl_dask.genome.layers.common.window import enlarging_windows
from menndl_dask.genome.shape import walk
from menndl_dask.problem import Problem


@dataclass(frozen=True, slots=True)
class _Span:
    """The pixels of an image's axis on which each pixel of a tensor depends, which repeat regularly.

    Pixel ``i`` of the tensor depends on those from ``first[i]`` to ``last[i]``, and pixel ``i + len(first)`` on the
    same, `shift` pixels further.
    """

    first: tuple[int, ...] = (0,)
    last: tuple[int, ...] = (0,)
    shift: int = 1

    def after(self, window: Window) -> _Span:
        """Return the span of what reads this tensor through a window."""
        if not self.first:
            return self
        period = len(self.first) * window.parts // math.gcd(window.step, len(self.first) * window.parts)
        moved = period * window.step // window.parts  # pixels of this tensor
        places = range(period)
        return _Span(
            tuple(self._at(self.first, (window.step * i + window.first) // window.parts) for i in places),
            tuple(self._at(self.last, (window.step * i + window.last) // window.parts) for i in places),
            moved * self.shift // len(self.first),
        )

    def joined(self, other: _Span) -> _Span | None:
        """Return the span of both together; None if they do not cover the image alike."""
        if len(self.first) * other.shift != len(other.first) * self.shift:
            return None
        period = math.lcm(len(self.first), len(other.first))
        return _Span(
            tuple(min(self._at(self.first, i), other._at(other.first, i)) for i in range(period)),
            tuple(max(self._at(self.last, i), other._at(other.last, i)) for i in range(period)),
            period * self.shift // len(self.first),
        )

    def _at(self, values: Sequence[int], place: int) -> int:
        turns, phase = divmod(place, len(values))
        return values[phase] + turns * self.shift


_NOWHERE = _Span((), (), 0)  # of what depends on the image as a whole only, which is not counted


def context(genome: Genome, problem: Problem) -> tuple[int, ...]:
    """Return how many pixels along each axis a network may look at to predict one pixel, that pixel in their middle.

    A network looks no farther than ``context // 2`` pixels to each side. Layers that look at the whole image in
    addition, see `sees_whole_image`, are not counted.

    Parameters
    ----------
    genome
        The network's build instructions.
    problem
        What the network is for. For labels of whole images, and where the network's output does not lie over
        the image pixel by pixel (without padding), the sizes of the (first) image are returned.

    Raises
    ------
    InfeasibleError
        If no network can be built.

    Examples
    --------
    >>> from menndl_dask.genome.layers import Convolution, Pooling, Upsampling
    >>> from menndl_dask.problem import Facts
    >>> images = Problem("cells.zarr", "segmentation", Facts(input_shapes=((64, 64, 1),), outputs=2))
    >>> context(Genome((Convolution(8, (3, 5)), Convolution(8, (3,), dilation=(2,)))), images)
    (7, 9)
    >>> context(Genome((Convolution(8), Pooling(), Convolution(8), Upsampling())), images)
    (9, 9)
    """
    genome, size = genome.canonical(), problem.facts.input_shapes[0][:-1]
    if not problem.by_pixel:
        return size
    found: list[list[_Span | None]] = []
    output = size
    for layer, sources, before, after in walk(genome, problem.facts.input_shapes):
        spans = [_together([found[s][axis] if s >= 0 else _Span() for s in sources]) for axis in range(len(size))]
        found.append(_read_by(layer, spans, before, after))
        output = after[:-1]
    spans = found[-1] if found else [_Span() for _ in size]
    if len(output) != len(size):
        return size
    # the head enlarges the output to the size of the image
    factors = tuple(-(-n // m) for n, m in zip(size, output, strict=True))
    windows = enlarging_windows(factors, "bilinear" if len(size) == 2 else "nearest")
    return tuple(_reach(span and span.after(w), n) for span, w, n in zip(spans, windows, size, strict=True))


def sees_whole_image(genome: Genome, problem: Problem) -> bool:
    """Tell whether a prediction depends on all pixels of an image through their mean or variance.

    Such networks predict slightly otherwise in a tile than in the whole image: those with instance or group
    normalisation, squeeze-and-excitation, and all for classification and regression.

    Raises
    ------
    InfeasibleError
        If no network can be built.
    """
    walked = walk(genome.canonical(), problem.facts.input_shapes)
    return not problem.by_pixel or any(layer.reads_whole_image(before) for layer, _, before, _ in walked)


def _together(spans: Sequence[_Span | None]) -> _Span | None:
    """Return the span of several inputs of a layer; None if it is not known for one of them."""
    known = [span for span in spans if span is not None and span.first]
    if None in spans or not known:
        return None if None in spans else _NOWHERE
    result: _Span | None = known[0]
    for span in known[1:]:
        result = result and result.joined(span)
    return result


def _read_by(layer: Layer, spans: list[_Span | None], before: Shape, after: Shape) -> list[_Span | None]:
    """Return the spans after a layer, for each axis of the image; None where they are not known."""
    if len(after) == 1 or all(span is not None and not span.first for span in spans):
        return [_NOWHERE] * len(spans)
    if not len(before) == len(after) == len(spans) + 1:  # other axes
        return [None] * len(spans)
    pooled = isinstance(layer, GlobalPooling)
    read = zip(spans, layer.windows(before[:-1]), strict=True)
    return [_NOWHERE if pooled else span and span.after(window) for span, window in read]


def _reach(span: _Span | None, size: int) -> int:
    """Return the pixels from the farthest one that is read on one side to as far on the other side."""
    if span is None or not span.first or span.shift != len(span.first):
        return size
    return 1 + 2 * max(max(i - f, n - i) for i, (f, n) in enumerate(zip(span.first, span.last, strict=True)))
