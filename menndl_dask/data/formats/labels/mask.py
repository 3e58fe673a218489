"""Class numbers from masks: black and white, grey values, colours, codes of a map, numbered objects. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.chunk_grid import sample_blocks
from menndl_dask.data.formats.labels.boundary import Boundaries
from menndl_dask.data.formats.samples import Changed, Reduced, Samples
from menndl_dask.errors import DataError
from menndl_dask.text import counted

MOST_CLASSES = 32
"""More values than this in a mask are probably numbers of objects."""

_MOST_VALUES = 65536
_MOST_COLOURS = 256
_VOID = 255  # usual in masks of 8 bits for what has no label
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_WHITE = (255, 65535)
_TWO = 2
_MOST_CHANNELS = 4
_MIDDLE = 127
_CLOSE = 40  # grey values from black or white that compression leaves
_MANY_GREYS = 8
_NEARLY_ALL = 0.9


@dataclass(frozen=True, slots=True)
class Mask:
    """Class numbers of pixels, and what they mean."""

    samples: Samples
    counts: Mapping[int, int]  # pixels of each class number
    classes: tuple[str, ...] = ()
    fill: int | None = None
    notes: tuple[str, ...] = ()  # what was changed


def read_mask(
    samples: Samples,
    axes: int,
    *,
    classes: Sequence[str] = (),
    fill: int | None = None,
    boundary: int | None = None,
    void: bool = True,
) -> Mask:
    """Return the class numbers of a mask; its values are read once, in blocks.

    Parameters
    ----------
    samples
        Masks with `axes` spatial axes each, perhaps with one for colours, or of length one.
    classes
        Names of the classes; for colours ``#rrggbb=name`` chooses the order too.
    fill
        Value of pixels without a label.
    boundary
        For numbered objects: width of their boundaries in pixels at each side; None for class numbers.
    void
        Whether a value 255 far above the others, or -1, is taken to be no label.

    Raises
    ------
    DataError
        If the values are no class numbers, or too many colours.
    """
    flat, colours, notes = _flat(samples, axes)
    named = {name.partition("=")[0].lower(): name.partition("=")[2] for name in classes if _COLOUR.match(name)}
    if colours is not None:
        return _colour_mask(flat, colours, classes, named, fill)
    if named:
        raise DataError(f"classes: expected names, got {next(iter(named))}: the label has no colours")
    if boundary is not None:
        return _boundary_mask(flat, boundary, classes, fill, notes)
    flat, fill, said = _filled(flat, fill)
    notes = (*notes, *said)
    counts = value_counts(flat)
    mask = Mask(_integers(flat), counts, tuple(classes), fill, notes)
    return _small(_numbered(mask if fill is not None or not void else _without_void(mask)))


def _small(mask: Mask) -> Mask:
    """Return class numbers in the smallest type that holds them: masks are as large as images."""
    kind = np.result_type(*(np.min_scalar_type(value) for value in (*mask.counts, mask.fill or 0)))
    if kind.kind not in "iu" or kind.itemsize >= mask.samples.dtype.itemsize:
        return mask
    return replace(mask, samples=Changed(mask.samples, lambda values: values, kind))


def value_counts(samples: Samples) -> dict[int, int]:
    """Return how many pixels have each value.

    Raises
    ------
    DataError
        If there are values that are no whole numbers, or more than 65,536 different ones.
    """
    found: Counter[int] = Counter()
    for start, stop, region in sample_blocks(samples):
        values = samples.read(start, stop, region)
        if values.dtype.kind == "b":
            values = values.astype(np.uint8)
        if values.dtype.kind == "f":
            wrong = ~np.isfinite(values) | (values != np.floor(values))
            if wrong.any():
                got = values[wrong].flat[0]
                raise DataError(f"label: sample {start}: expected class numbers in the pixels, got {got:g}")
            values = values.astype(np.int64)
        if values.dtype in (np.uint8, np.uint16):
            numbers = np.bincount(values.ravel())
            found.update({int(value): int(numbers[value]) for value in np.flatnonzero(numbers)})
        else:
            unique, numbers = np.unique(values, return_counts=True)
            found.update(dict(zip(unique.tolist(), numbers.tolist(), strict=True)))
        if len(found) > _MOST_VALUES:
            raise DataError(
                f"label: more than {_MOST_VALUES:,} different values: numbers of objects? --instances boundary "
                "makes classes of them"
            )
    return dict(sorted(found.items()))


def _filled(samples: Samples, fill: int | None) -> tuple[Samples, int | None, tuple[str, ...]]:
    """Return masks with a class number for NaN, and that number, which has no label."""
    if samples.dtype.kind != "f":
        return samples, fill, ()
    missing, highest = 0, 0.0
    for block in sample_blocks(samples):
        values = samples.read(*block)
        missing += int(np.isnan(values).sum())
        highest = max(highest, float(np.nan_to_num(values, nan=0.0, posinf=0.0).max(initial=0)))
    if not missing:
        return samples, fill, ()
    void = fill if fill is not None else _VOID if highest < _VOID else -1
    filled = Changed(samples, lambda values: np.where(np.isnan(values), void, values), samples.dtype)
    return filled, void, (f"{counted(missing, 'pixel')} without a value (NaN) have no label",)


def _integers(samples: Samples) -> Samples:
    if samples.dtype.kind in "bf":
        kind = np.dtype(np.uint8 if samples.dtype.kind == "b" else np.int32)
        return Changed(samples, lambda values: values.astype(kind), kind)
    return samples


def _flat(samples: Samples, axes: int) -> tuple[Samples, Counter[int] | None, tuple[str, ...]]:
    """Return masks without an axis of colours, and how often each colour occurs if there are colours."""
    size = samples.size(0)
    if len(size) == axes:
        return samples, None, ()
    place = next((place for place in (len(size) - 1, 0) if size[place] in (1, 2, 3, 4)), None)
    if len(size) != axes + 1 or place is None:
        return samples, None, ()  # the caller says what is wrong with the shape
    if size[place] == 1:
        return Reduced(samples, place, lambda values: values[..., 0], samples.dtype), None, ()
    for end in (len(size) - 1, 0):
        if size[end] <= _MOST_CHANNELS and (one_hot := _one_hot(samples, end)) is not None:
            return one_hot, None, (f"masks of {size[end]} channels with a single 1 became class numbers",)
    if samples.dtype.kind not in "iub" or (samples.dtype.itemsize > 1 and samples.dtype.kind != "b"):
        raise DataError(f"label: expected colours of 8 bits or one channel, got {size[place]} of {samples.dtype}")
    packed = Reduced(samples, place, _packed, np.dtype(np.int32))
    colours: Counter[int] = Counter()
    for block in sample_blocks(packed):
        unique, numbers = np.unique(packed.read(*block), return_counts=True)
        colours.update(dict(zip(unique.tolist(), numbers.tolist(), strict=True)))
        if len(colours) > 65536:
            break
    if all(_hex(colour)[1:3] == _hex(colour)[3:5] == _hex(colour)[5:7] for colour in colours):
        grey = Reduced(samples, place, lambda values: values[..., 0], samples.dtype)
        return grey, None, (f"masks of {size[place]} equal channels: read as one",)
    return packed, colours, ()


def _one_hot(samples: Samples, place: int) -> Samples | None:
    """Return the number of the channel that is 1 in each pixel, where the others are 0; None for other masks."""
    numbers = Reduced(samples, place, lambda values: values.argmax(axis=-1), np.dtype(np.uint8))
    single = Reduced(samples, place, _is_single, np.dtype(np.bool_))
    return numbers if all(single.read(*block).all() for block in sample_blocks(single)) else None


def _is_single(values: NDArray[Any]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.isin(values, (0, 1)).all(axis=-1) & (values.sum(axis=-1) == 1)
    return found


def _packed(values: NDArray[Any]) -> NDArray[np.int32]:
    """Return colours ``(…, channel)`` as one number each; a fourth channel is opacity and is not looked at."""
    channels = values.astype(np.int32)
    if channels.shape[-1] == 2:  # grey and opacity
        return channels[..., 0] * 0x10101
    return (channels[..., 0] << 16) | (channels[..., 1] << 8) | channels[..., 2]


def _hex(colour: int) -> str:
    return f"#{colour:06x}"


def _colour_mask(
    packed: Samples, colours: Counter[int], classes: Sequence[str], named: Mapping[str, str], fill: int | None
) -> Mask:
    if len(colours) > _MOST_COLOURS:
        most = ", ".join(_hex(colour) for colour, _ in colours.most_common(3))
        hint = "a mask saved as JPEG has changed colours" if len(colours) > 1000 else "are these numbered objects?"
        raise DataError(
            f"label: expected at most {_MOST_COLOURS} colours as classes, got {len(colours):,} ({most}, …); {hint}"
        )
    order = sorted(colours)
    fill_value = None
    if named:
        missing = [_hex(colour) for colour in order if _hex(colour) not in named]
        order = [int(name[1:], 16) for name in named]
        names = tuple(named[_hex(colour)] or _hex(colour) for colour in order)
        fill_value = _VOID if missing else None
    else:
        missing = []
        names = tuple(classes) or tuple(map(_hex, order))
        if len(names) != len(order):
            found = ", ".join(map(_hex, order))
            raise DataError(f"classes: expected a name for each of the {len(order)} colours {found}, got {len(names)}")
    numbers = {colour: number for number, colour in enumerate(order)}
    listed = ", ".join(f"{_hex(colour)} {number}" for colour, number in list(numbers.items())[:8])
    notes = [f"{len(order)} colours became class numbers: {listed}{', …' if len(order) > 8 else ''}"]
    if missing:
        count = sum(colours[int(name[1:], 16)] for name in missing)
        notes.append(f"{counted(count, 'pixel')} of other colours have no label: {', '.join(missing[:5])}")
    lookup = dict(numbers)
    table = Changed(packed, lambda values: _looked_up(values, lookup, _VOID), np.dtype(np.uint8))
    counts = {number: colours[colour] for colour, number in numbers.items()}
    if missing:
        counts[_VOID] = sum(colours[int(name[1:], 16)] for name in missing)
    return Mask(table, counts, names, fill if fill is not None else fill_value, tuple(notes))


def _looked_up(values: NDArray[Any], numbers: Mapping[int, int], other: int) -> NDArray[Any]:
    known = np.array(sorted(numbers), dtype=np.int64)
    target = np.array([numbers[value] for value in known.tolist()], dtype=np.int64)
    place = np.clip(np.searchsorted(known, values), 0, len(known) - 1)
    return np.where(known[place] == values, target[place], other)


def _boundary_mask(
    samples: Samples, width: int, classes: Sequence[str], fill: int | None, notes: tuple[str, ...]
) -> Mask:
    objects = value_counts(_integers(samples))
    boundaries = Boundaries(_integers(samples), width, fill)
    at_each_side = "pixel" if width == 1 else "pixels"
    note = (
        f"{counted(len(objects), 'number')} of objects became boundaries: class 1 within {width} {at_each_side} of "
        "another number, class 0 elsewhere"
    )
    names = tuple(classes) or ("inside", "boundary")
    kept = _VOID if fill is not None else None
    return Mask(boundaries, value_counts(boundaries), names, kept, (*notes, note))


def _without_void(mask: Mask) -> Mask:
    """Take 255 far above the other values, and -1, to be pixels without a label."""
    others = [value for value in mask.counts if value not in (_VOID, -1)]
    void = None
    if -1 in mask.counts and others and min(others) >= 0:
        void = -1
    elif _VOID in mask.counts and len(others) > 1:
        from_0_or_1 = others[0] in (0, 1) and others == list(range(others[0], others[0] + len(others)))
        if others[-1] < len(mask.classes) <= _VOID or (from_0_or_1 and others[-1] < MOST_CLASSES):
            void = _VOID
    if void is None:
        return mask
    count = mask.counts[void]
    note = f"{counted(count, 'pixel')} with the value {void} are taken to have no label (--fill VALUE names another)"
    return replace(mask, fill=void, notes=(*mask.notes, note))


def _numbered(mask: Mask) -> Mask:
    """Give the classes numbers from 0 on where the values are white, grey values or codes of a map."""
    values = [value for value in mask.counts if value != mask.fill]
    if not values or mask.samples.dtype.kind not in "iu":
        return mask
    most = values[-1]
    if set(values) <= {0, most} and most in _WHITE and len(mask.classes) < most:
        notes = (*mask.notes, f"masks of 0 and {most}: {most} became class 1")
        changed = _renumbered(mask, {0: 0, most: 1}, notes)
        return replace(changed, counts={0: 0, **changed.counts})
    if _is_blurred(mask, values):
        notes = (*mask.notes, "masks of black, white and little between, as in JPEG files: above 127 became class 1")
        return _renumbered(mask, {value: int(value > _MIDDLE) for value in values}, notes)
    names = len(mask.classes)
    spread = values[0] < 0 or most >= 2 * len(values) + 2
    if spread and len(values) <= MOST_CLASSES and (not names or (names == len(values) and most >= names)):
        numbers = {value: number for number, value in enumerate(values)}
        listed = ", ".join(map(str, values[:8])) + (", …" if len(values) > 8 else "")
        notes = (*mask.notes, f"values {listed} became the class numbers 0 to {len(values) - 1}")
        return replace(_renumbered(mask, numbers, notes), classes=mask.classes or tuple(map(str, values)))
    return mask


def _is_blurred(mask: Mask, values: Sequence[int]) -> bool:
    """Whether a mask of 8 bits has many grey values that are nearly all close to black or white."""
    if len(values) < _MANY_GREYS or values[0] < 0 or values[-1] > _WHITE[0] or len(mask.classes) > _TWO:
        return False
    close = sum(mask.counts[value] for value in values if min(value, _WHITE[0] - value) <= _CLOSE)
    both = values[0] <= _CLOSE and values[-1] >= _WHITE[0] - _CLOSE
    return both and close >= _NEARLY_ALL * sum(mask.counts[value] for value in values)


def _renumbered(mask: Mask, numbers: Mapping[int, int], notes: tuple[str, ...]) -> Mask:
    fill = None if mask.fill is None else _VOID
    change: Callable[[NDArray[Any]], NDArray[Any]] = lambda values: _looked_up(values, numbers, _VOID)  # noqa: E731
    counts: Counter[int] = Counter()
    for value, count in mask.counts.items():
        counts[numbers.get(value, _VOID)] += count
    return replace(
        mask, samples=Changed(mask.samples, change, np.dtype(np.uint8)), counts=dict(counts), fill=fill, notes=notes
    )
