"""What the dimensions of images and labels are: by their names, as given, or guessed from the shapes. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from menndl_dask.data.axes import CHANNEL, SAMPLE, SPATIAL, format_dims
from menndl_dask.data.formats.content import ORDERED, Pieces, SourceArray
from menndl_dask.errors import DataError

_SPACE = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}
_MOST_CHANNELS = 4  # grey, RGB or RGBA: a short axis without a name holds channels
_COLOURS = (1, 3, 4)
_LETTERS = {"h": "y", "w": "x", "d": "z", "n": "sample"}
_NO_NAME = re.compile(r"(phony_)?dim_\d+|axis_?\w")
_VOLUMES = ("volume", "volumes", "raw", "vol")  # names of arrays that are one volume


@dataclass(frozen=True, slots=True)
class Layout:
    """The dimensions of an image array, with ``sample`` and ``channel`` if it has them, and how they are known."""

    dims: tuple[str, ...]
    rule: str
    ordered: bool = False  # the samples are sections or frames in order
    pages: bool = False  # they are the pages of a file, of which it does not say what they are

    @property
    def axis(self) -> int | None:
        """Position of the samples; None if the array is one image."""
        return self.dims.index("sample") if "sample" in self.dims else None

    @property
    def inner(self) -> tuple[str, ...]:
        """Dimensions of one sample."""
        return tuple(name for name in self.dims if name != "sample")

    @property
    def spatial(self) -> tuple[str, ...]:
        """Spatial dimensions."""
        return tuple(name for name in self.dims if name not in ("sample", "channel"))


def image_layout(
    name: str, source: SourceArray, label: SourceArray | None, given: Sequence[str] | None = None
) -> Layout:
    """Return the dimensions of an image array; `label` is the array of its labels, if there is one.

    Raises
    ------
    DataError
        If these are not the dimensions of images.
    """
    shape = source.shape
    if given is not None:
        if isinstance(source.array, Pieces) and len(given) == len(shape) - 1:
            given = ("sample", *given)
        if len(given) != len(shape):
            raise DataError(f"dims: expected {len(shape)} names for the shape {shape}, got {', '.join(given)}")
        found = _named(given, "as given", source, label)
    elif source.dims and not all(_NO_NAME.fullmatch(dim) for dim in source.dims):
        found = _named(source.dims, "names in the source", source, label)
    else:
        found = _guessed(name, source, label)
    if len(found.spatial) not in _SPACE or len(set(found.dims)) < len(found.dims):
        kind = f"the dimensions {format_dims(found.dims)}" if found.rule != "guessed" else f"shape {shape}"
        raise DataError(f"expected images (sample, one to three spatial axes, channel), got {kind}")
    return found


def our_names(dims: Sequence[str]) -> tuple[str, ...]:
    """Return names of dimensions in lower case, with ours for samples and channels.

    >>> our_names(["N", "H", "W", "Band"])
    ('sample', 'y', 'x', 'channel')
    """
    found: list[str] = []
    for dim in dims:
        name = _LETTERS.get(dim.lower(), dim.lower())
        name = "sample" if name in SAMPLE else "channel" if name in CHANNEL else name
        found.append(name if name in SPATIAL or name in ("sample", "channel") or name not in found else dim)
    return tuple(found)


def _named(dims: Sequence[str], rule: str, source: SourceArray, label: SourceArray | None) -> Layout:
    names = list(our_names(dims))
    ordered = pages = False
    if "sample" not in names:
        in_order = [place for place, name in enumerate(names) if name in ORDERED]
        lengths = (label.shape[0],) if label is not None and len(label.shape) == 1 else ()
        if in_order:
            pages = names[in_order[0]] in ("page", "pages")
            rule += f"; {names[in_order[0]]} holds the samples"
            names[in_order[0]], ordered = "sample", True
        elif names[0] not in (*SPATIAL, "channel"):
            names[0] = "sample"
        elif names[0] == "z" and lengths == source.shape[:1]:
            names[0], ordered = "sample", True
            rule += "; z holds the samples, as the labels do"
    if "channel" not in names:
        other = [place for place, name in enumerate(names) if name not in (*SPATIAL, "sample")]
        spatial = len(names) - len(other) - ("sample" in names)
        if len(other) == 1 and spatial:
            rule += f"; {names[other[0]]} holds the channels"
            names[other[0]] = "channel"
    return Layout(tuple(names), rule, ordered, pages)


def _guessed(name: str, source: SourceArray, label: SourceArray | None) -> Layout:
    shape = source.shape
    pixels = () if label is None else without_colours(label.shape, shape)
    if not isinstance(source.array, Pieces):
        numbers = pixels if label is not None and np.dtype(label.array.dtype).kind in "iub" else ()
        one = _one_image(name.rpartition("/")[2].lower(), shape, numbers, label is None)
        if one:
            return Layout(one, "guessed from the shape: one image")
    axis = _channel_axis(shape[1:], pixels[1:])
    rank = len(shape) - 1 - (axis is not None)
    space = list(_SPACE.get(rank, ()))
    if not space:
        return Layout(("sample",) * len(shape), "guessed")
    if axis is not None:
        space.insert(axis, "channel")
    known = isinstance(source.array, Pieces)
    rule = "of a file, guessed from the shape" if known else "guessed from the shape"
    if not known and len(shape) == 3 and pixels == shape:
        rule += "; if it is one volume: --dims z y x"
    return Layout(("sample", *space), rule)


def _one_image(name: str, shape: tuple[int, ...], pixels: tuple[int, ...], unlabelled: bool) -> tuple[str, ...]:
    """Return the dimensions of an array that is one image; empty if its first axis is the samples."""
    if len(shape) == 2 and (pixels == shape or unlabelled):
        return ("y", "x")
    if len(shape) == 3 and len(pixels) == 2:
        if pixels == shape[:2]:
            return ("y", "x", "channel")
        if pixels == shape[1:]:
            return ("channel", "y", "x")
    if len(shape) == 3 and unlabelled and shape[2] in (3, 4):
        return ("y", "x", "channel")
    if name in _VOLUMES and len(pixels) in (0, 3):
        if len(shape) == 3 and pixels in ((), shape):
            return ("z", "y", "x")
        if len(shape) == 4 and (pixels == shape[:3] or (not pixels and shape[3] <= _MOST_CHANNELS)):
            return ("z", "y", "x", "channel")
        if len(shape) == 4 and (pixels == shape[1:] or (not pixels and shape[0] <= _MOST_CHANNELS)):
            return ("channel", "z", "y", "x")
    return ()


def without_colours(label: tuple[int, ...], image: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of pixel labels without a last axis of colours, or of length one.

    >>> without_colours((9, 20, 21, 3), (9, 20, 21)), without_colours((9, 20, 21), (9, 20, 21, 3))
    ((9, 20, 21), (9, 20, 21))
    >>> without_colours((9, 1, 20, 21), (9, 1, 20, 21))  # a channel of length one, as PyTorch has it
    (9, 20, 21)
    """
    if len(label) == len(image) == 4 and label[1] == 1 and label[2:] == image[2:] and image[1] <= _MOST_CHANNELS:
        return (label[0], *label[2:])
    colours = len(label) > 2 and label[-1] in _COLOURS and label[:-1] == image[: len(label) - 1]
    return label[:-1] if colours else label


def _channel_axis(shape: tuple[int, ...], pixels: tuple[int, ...]) -> int | None:
    """Return the channel axis of a sample: the one that pixel labels lack, else a short one; None if there is none."""
    if pixels and shape == pixels:
        return None
    if len(pixels) > 1 and len(shape) == len(pixels) + 1:
        for axis in (len(shape) - 1, 0):
            if shape[:axis] + shape[axis + 1 :] == pixels:
                return axis
    if len(shape) < 3:
        return 1 if len(shape) == 2 and shape[1] == 1 else None
    short = [axis for axis in (len(shape) - 1, 0) if 0 < shape[axis] <= _MOST_CHANNELS]
    if short:
        return short[0]
    return None if len(shape) == 3 else len(shape) - 1
