"""Labels of a source as a variable of the store: a class, values, or a mask for each image. Runs on the driver."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.axes import format_dims
from menndl_dask.data.formats.arrangement.choice import class_array
from menndl_dask.data.formats.arrangement.label_source import LabelSource
from menndl_dask.data.formats.arrangement.store_writer import Variable
from menndl_dask.data.formats.arrangement.summary import shares
from menndl_dask.data.formats.arrangement.view import View
from menndl_dask.data.formats.chunk_grid import sample_blocks
from menndl_dask.data.formats.content import ORDERED, Pieces, Sliceable, SourceArray, numbered
from menndl_dask.data.formats.conversion_options import Options
from menndl_dask.data.formats.dimension import our_names
from menndl_dask.data.formats.labels.mask import Mask, read_mask
from menndl_dask.data.formats.labels.points import RADIUS, HeatMaps, draw_points
from menndl_dask.data.formats.samples import Samples, Separate, samples_of
from menndl_dask.data.formats.views import decoding
from menndl_dask.errors import DataError
from menndl_dask.text import counted

_NUMBERED = re.compile(r"^(\d+)\s*[\s:=._-]\s*(\S.*)$")
_NO_LABEL = ("fill", "ignore", "ignored", "void", "unlabelled", "unlabeled", "nodata", "no data", "none", "unknown")
_MISSING = -1
_TWO = 2
_MANY = 8  # class numbers without names, from which on they may be numbers of objects
MOST_NUMBERED = 4096
"""Class numbers without names are below this, as `menndl check` expects them."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The labels as a variable, what they mean, and what is to be said."""

    variable: Variable
    by_pixel: bool
    classes: tuple[str, ...]
    fill: int | None
    notes: tuple[str, ...]
    regression: bool = False  # whole numbers that are values to predict


def read_truth(labels: LabelSource, name: str | None, view: View, options: Options) -> Truth | None:
    """Return the labels; None if there are none.

    Raises
    ------
    DataError
        If they do not fit the images, or the names of the classes.
    """
    if labels.positions:
        return _drawn(labels, view, options)
    if name is None:
        unused = [o for o, given in (("classes", options.classes), ("instances", options.instances)) if given]
        if unused:
            raise DataError(f"{unused[0]}: expected labels to which it applies, found none; name them with --label")
        return None
    source = labels.arrays[name]
    known, fill_by_name = _class_names(labels, source, options)
    fill = _fill(source, options)
    fill = fill_by_name if fill is None else fill
    array = _as_labels(name, source)
    of_folder = "the folder" if "file" in labels.content.arrays else f"array {name}"
    where = f"{labels.elsewhere}, {name}" if labels.elsewhere else of_folder
    samples, dims = _layout(replace(source, array=array, stored=None), view, name)
    if dims is not None:
        numbers = options.classes or options.instances is not None or options.fill is not None
        if not numbers and (values := _pixel_values(samples, dims, where)) is not None:
            return values
        lossy = bool(source.attributes.get("lossy")) and options.boundary is None
        return _mask(samples, dims, view, known, fill, options, where, lossy)
    if options.instances is not None:
        raise DataError(
            f"instances: expected numbers of objects in the pixels, got {name} with one label for each image"
        )
    return _per_image(samples, source, array, known, fill, where)


def _as_labels(name: str, source: SourceArray) -> Sliceable:
    """Return the array of labels: numbers of classes as they are stored, values to predict decoded.

    Raises
    ------
    DataError
        If they are dates, spans of time, complex or structured numbers.
    """
    stored = source.array if source.stored is None else source.stored
    is_scaled = decoding(source.attributes) != (1.0, 0.0)
    array = source.array if is_scaled or np.dtype(stored.dtype).kind == "f" else stored
    kind, units = np.dtype(array.dtype), str(source.attributes.get("units", ""))
    is_time = " since " in units or "timedelta" in str(source.attributes.get("dtype", ""))
    if kind.kind not in "biufOSUT" or (kind.kind == "f" and kind.itemsize > 8) or (is_time and kind.kind in "iuf"):
        got = f"times ({units})" if is_time else f"values of type {kind}"
        raise DataError(f"label: expected numbers or names of classes, or values to predict, got {got} in {name}")
    return array


def _drawn(labels: LabelSource, view: View, options: Options) -> Truth:
    samples = view.variable.samples
    axes = [place for place, dim in enumerate(view.layout.inner) if dim != "channel"]
    sizes = [tuple(samples.size(number)[axis] for axis in axes) for number in range(len(samples))]
    file = labels.content.arrays.get("file")
    files = [] if file is None else list(map(str, np.asarray(file.array[:]).tolist()))
    try:
        drawn, classes, note = draw_points(
            labels.positions, sizes, view.layout.spatial, files, options.radius or RADIUS, options.heat
        )
    except DataError as error:
        raise DataError(f"{labels.elsewhere}: {error}") from None
    if isinstance(drawn, HeatMaps):
        if options.classes:
            raise DataError("classes: expected without heat: a heat map has values, no classes")
        said = f"labels: a value for each pixel, from {labels.elsewhere}: 0 to 1"
        return Truth(Variable("label", drawn, view.layout.spatial, {"sigma": options.heat}), True, (), None,
                     (said, f"changed: {note}"))  # fmt: skip
    if options.radius is None:
        note += " (--radius R chooses another)"
    if options.classes and len(options.classes) != len(classes):
        raise DataError(f"classes: expected {len(classes)} names, for {', '.join(classes)}, got {len(options.classes)}")
    mask = Mask(drawn, {}, options.classes or classes, options.fill, (f"changed: {note}",))
    attributes: dict[str, Any] = {"classes": list(mask.classes)}
    variable = Variable("label", drawn, view.layout.spatial, attributes)
    said = f"labels: a class for each pixel, from {labels.elsewhere}: {', '.join(mask.classes)}"
    return Truth(variable, True, mask.classes, None, (said, *mask.notes))


def _class_names(labels: LabelSource, source: SourceArray, options: Options) -> tuple[tuple[str, ...], int | None]:
    """Return the names of the classes, and the class number that a name says to be no label."""
    if options.classes:
        return options.classes, None
    own = source.attributes.get("classes")
    if isinstance(own, list | tuple | np.ndarray) and len(own):
        return tuple(map(str, own)), None
    if labels.classes:
        return labels.classes, None
    others = {**labels.content.arrays, **labels.arrays}
    listed = class_array(others)
    if listed is None:
        return (), None
    names = [str(value) for value in np.asarray(others[listed].array[:]).tolist()]
    parts = [_NUMBERED.match(name) for name in names]
    if not all(parts):
        return tuple(names), None
    by_number = {int(part[1]): part[2].strip() for part in parts if part is not None}
    unlabelled = [number for number, name in by_number.items() if name.lower() in _NO_LABEL]
    kept = {number: name for number, name in by_number.items() if number not in unlabelled}
    if sorted(kept) != list(range(len(kept))) or len(unlabelled) > 1:
        return tuple(names), None
    return tuple(kept[number] for number in sorted(kept)), unlabelled[0] if unlabelled else None


def _fill(source: SourceArray, options: Options) -> int | None:
    if options.fill is not None:
        return options.fill
    value = source.attributes.get("fill", source.attributes.get("_FillValue"))
    if value is None or np.ndim(value) or value != value or int(value) != value:
        return None
    return int(value)


def _layout(source: SourceArray, view: View, name: str) -> tuple[Samples, tuple[str, ...] | None]:
    """Return labels as samples, and the dimensions of a mask; None for labels of whole images."""
    one = view.layout.axis is None
    dims = our_names(source.dims) if source.dims and len(source.dims) == len(source.shape) else ()
    if one and source.shape == _pixels(view) and set(dims) != set(view.layout.spatial):
        dims = ()  # the pages of a mask are the planes of the volume
    if isinstance(source.array, Pieces):
        axis: int | None = 0
    elif dims:
        axis = next((p for p, dim in enumerate(dims) if dim in ("sample", *ORDERED)), None)
        if axis is None and not one:
            axis = next((p for p, dim in enumerate(dims) if dim not in (*view.layout.spatial, "channel")), 0)
    else:
        axis = None if one else 0
    samples = samples_of(source.array, axis)
    number = len(view.variable.samples)
    if len(samples) != number:
        expected = f"{number} samples as in {view.variable.name}"
        raise DataError(f"label: expected {expected}, got {len(samples)} in the array {name}")
    size = samples.size(0)
    rank = len(view.layout.spatial)
    inner = tuple(dim for place, dim in enumerate(dims) if place != axis)
    pixels = _pixels(view)
    if not size or (size == (1,) and pixels != (1,)):
        return samples, None
    values = samples.dtype.kind == "f" and len(size) == 1  # of a line: a value to predict, not a class
    if not values and _is_mask(size, pixels, set(inner) == set(view.layout.spatial), isinstance(samples, Separate)):
        return samples, inner if len(inner) == rank and set(inner) == set(view.layout.spatial) else view.layout.spatial
    if len(size) == 1 and not one:
        return samples, None
    shown = format_dims([*([] if one else ["sample"]), *map(str, pixels)])
    raise DataError(
        f"label: expected one label for each sample (sample) or pixel {shown}, got shape {source.shape} in {name}"
    )


def _pixel_values(samples: Samples, dims: tuple[str, ...], where: str) -> Truth | None:
    """Return floats with a fraction as values to predict; None for others, which may be class numbers."""
    if samples.dtype.kind != "f" or len(samples.size(0)) != len(dims):
        return None
    low, high, has_fractions, missing, number = np.inf, -np.inf, False, 0, 0
    for start, stop, region in sample_blocks(samples):
        values = samples.read(start, stop, region)
        if np.isinf(values).any():
            got = values[np.isinf(values)][0]
            expected = "expected a value in each pixel, or NaN for a missing one"
            raise DataError(f"label: sample {start}: {expected}, got {got:g}")
        known = values[~np.isnan(values)]
        missing, number = missing + values.size - known.size, number + values.size
        has_fractions |= bool((known != np.round(known)).any())
        low, high = min(low, float(known.min(initial=np.inf))), max(high, float(known.max(initial=-np.inf)))
    if not has_fractions:
        return None
    said = [f"labels: a value for each pixel, from {where}: {low:g} to {high:g}"]
    if missing:
        said.append(f"labels: {missing / number:.2%} of the pixels have no value (NaN), and will not be used")
    return Truth(Variable("label", samples, dims, {}), True, (), None, tuple(said))


def _pixels(view: View) -> tuple[int, ...]:
    sizes = zip(view.layout.inner, view.variable.samples.size(0), strict=True)
    return tuple(size for dim, size in sizes if dim != "channel")


def _is_mask(size: tuple[int, ...], pixels: tuple[int, ...], named: bool, separate: bool) -> bool:
    """Whether labels of a shape are a mask; one of another size than its image, in a file of its own, is told later."""
    if len(size) == len(pixels):
        return size == pixels or named or (separate and len(size) > 1)
    return len(size) == len(pixels) + 1 and (
        (size[:-1] == pixels and size[-1] in (1, 2, 3, 4)) or (size[1:] == pixels and size[0] in (1, 2, 3, 4))
    )


def _mask(
    samples: Samples,
    dims: tuple[str, ...],
    view: View,
    classes: Sequence[str],
    fill: int | None,
    options: Options,
    where: str,
    lossy: bool = False,
) -> Truth:
    boundary = options.boundary
    names = options.classes if boundary is not None else classes
    mask = read_mask(samples, len(dims), classes=names, fill=fill, boundary=boundary)
    if lossy and len(mask.counts) > _TWO:
        most = sorted(mask.counts, key=lambda value: -mask.counts[value])[:3]
        got = f"{len(mask.counts)} values (most often {', '.join(map(str, sorted(most)))})"
        raise DataError(
            f"label: expected masks whose values are exact, got JPEG files with {got}, which compression has changed; "
            "save them as PNG before they are compressed, or as black and white"
        )
    attributes: dict[str, Any] = {}
    if mask.fill is not None:
        attributes["fill"] = int(mask.fill)
    if mask.classes:
        attributes["classes"] = list(mask.classes)
    _check_numbers(mask)
    named = {n: mask.classes[n] if n < len(mask.classes) else str(n) for n in mask.counts if n != mask.fill}
    counts = [(named[number], count) for number, count in mask.counts.items() if number in named]
    said = [f"labels: a class for each pixel, from {where}: {shares(counts)}"]
    if mask.fill is not None:
        missing = mask.counts.get(mask.fill, 0)
        said.append(f"labels: {mask.fill} is no label ({missing:,} pixels)")
    if len(counts) > _MANY and not mask.classes:
        said.append(
            f"note: {len(counts)} class numbers up to {max(mask.counts)}: if these are numbers of objects, "
            "--instances boundary makes their boundaries a class"
        )
    said += [f"changed: {note}" for note in mask.notes]
    said += _few_classes(len(mask.classes) or max(named, default=-1) + 1)
    return Truth(Variable("label", mask.samples, dims, attributes), True, mask.classes, mask.fill, tuple(said))


def _check_numbers(mask: Mask) -> None:
    """Refuse what `menndl check` would refuse."""
    numbers = [number for number in mask.counts if number != mask.fill]
    if not numbers:
        raise DataError("label: expected class numbers in the pixels, got none but those without a label")
    most = len(mask.classes)
    if most and (numbers[-1] >= most or numbers[0] < 0):
        wrong = numbers[-1] if numbers[-1] >= most else numbers[0]
        known = ", ".join(mask.classes[:8]) + (", …" if most > 8 else "")
        raise DataError(f"label: expected class numbers from 0 to {most - 1} ({known}), got {wrong}; --fill {wrong} "
                        "if it is no label")  # fmt: skip
    if numbers[0] < 0:
        raise DataError(
            f"label: expected class numbers from 0 on, got {numbers[0]}; --fill {numbers[0]} if it is no label"
        )
    if not most and numbers[-1] >= MOST_NUMBERED:
        raise DataError(
            f"label: expected class numbers below {MOST_NUMBERED}, got {counted(len(numbers), 'value')} up to "
            f"{numbers[-1]}; if these are numbers of objects, --instances boundary makes their boundaries a class"
        )


def _per_image(
    samples: Samples,
    source: SourceArray,
    array: Any,
    classes: tuple[str, ...],
    fill: int | None,
    where: str,
) -> Truth:
    """Return a class number, a name or values for each image."""
    size = samples.size(0)
    kind = np.dtype(array.dtype).kind
    said: list[str] = []
    if kind in "OSUT":
        words = [_text(value) for value in np.asarray(array[...]).reshape(len(samples)).tolist()]
        numbers, classes = _words(words, classes)
        if len(words) == len(classes) > _MANY:
            said.append(f"note: each of the {len(words)} images has a class of its own: are these names or numbers?")
        if (numbers == _MISSING).any():
            fill = _MISSING
        samples, kind, size = samples_of(numbers, 0), "i", ()
    elif size == (1,):
        samples, size = samples_of(np.asarray(array[...]).reshape(len(samples)), 0), ()
    if kind == "b" and not size:
        samples = samples_of(np.asarray(array[...]).reshape(len(samples)).astype(np.uint8), 0)
    if size and size[0] > 1 and (single := _from_one_hot(samples)) is not None:
        said.append(f"changed: rows of {size[0]} with a single 1 became class numbers")
        samples, kind, size = samples_of(single, 0), "i", ()
    if size:
        said.append(f"labels: {size[0]} values for each image, from {where}{_range(samples, size)[1]}")
        if kind == "b":
            samples = samples_of(np.asarray(array[...]).astype(np.uint8), 0)
        return Truth(Variable("label", samples, ("value",), {}), False, (), None, tuple(said), regression=kind != "f")
    values = samples.read(0, len(samples), ())
    if kind == "f" and np.isnan(values).any() and (present := _with_missing(values, source)) is not None:
        values, fill = present, _MISSING
        samples, kind = samples_of(values, 0), "i"
    if kind == "f":
        known, missing = _range(samples, ())
        said.append(f"labels: a value for each image, from {where}: {known.min():g} to {known.max():g}{missing}")
        return Truth(Variable("label", samples, (), {}), False, (), None, tuple(said))
    return _numbers(values, classes, fill, where, said)


def _numbers(values: NDArray[Any], classes: tuple[str, ...], fill: int | None, where: str, said: list[str]) -> Truth:
    """Return a class number for each image; numbers that can be no classes are values to predict."""
    attributes: dict[str, Any] = {}
    if fill is None and values.dtype.kind == "i" and values.min() == _MISSING and len(np.unique(values)) > 2:
        fill = _MISSING
    kept = values if fill is None else values[values != fill]
    found, counts = np.unique(kept, return_counts=True)
    if not classes and len(found) == _TWO and found[0] < 0:  # such as -1 and 1
        classes = tuple(map(str, found.tolist()))
        said.append(f"changed: labels {classes[0]} and {classes[1]} became the class numbers 0 and 1")
        values, found, fill = np.searchsorted(found, values), np.arange(_TWO), None
    samples = samples_of(values, 0)
    as_values = not classes and len(found) > 0 and (found[0] < 0 or found[-1] >= MOST_NUMBERED)
    if as_values:
        said.append(f"labels: whole numbers for each image, from {where}: {found[0]} to {found[-1]}: values to predict")
        return Truth(Variable("label", samples, (), {}), False, (), None, tuple(said), regression=True)
    if classes and len(found) and not 0 <= found[0] <= found[-1] < len(classes):
        got = found[0] if found[0] < 0 else found[-1]
        raise DataError(f"label: expected class numbers from 0 to {len(classes) - 1} ({', '.join(classes)}), got {got}")
    named = [classes[n] if classes else str(n) for n in found.tolist()]
    parts = shares(list(zip(named, counts.tolist(), strict=True)))
    said.append(f"labels: a class for each image, from {where}: {parts}")
    if fill is not None:
        attributes["fill"] = int(fill)
        said.append(f"labels: {fill} is no label ({counted(int((values == fill).sum()), 'image')})")
    if classes:
        attributes["classes"] = list(classes)
    said += _few_classes(len(classes) or int(found.max(initial=0)) + 1)
    return Truth(Variable("label", samples, (), attributes), False, classes, fill, tuple(said))


def _few_classes(number: int) -> list[str]:
    return [] if number > 1 else ["note: there is one class only; a search needs at least two"]


def _range(samples: Samples, size: tuple[int, ...]) -> tuple[NDArray[Any], str]:
    """Return the values to predict of the images that have one, and how many have none, in words.

    Raises
    ------
    DataError
        If a value is infinite, or no image has one.
    """
    values = samples.read(0, len(samples), tuple(slice(0, length) for length in size)).astype(np.float64)
    rows = values.reshape(len(values), -1)
    if np.isinf(rows).any():
        first = int(np.flatnonzero(np.isinf(rows).any(axis=1))[0])
        raise DataError(f"label: image {first}: expected a value, or NaN for a missing one, got {rows[first].max():g}")
    missing = np.isnan(rows).any(axis=1)
    if missing.all():
        raise DataError("label: expected a value for each image, got NaN for all")
    number = int(missing.sum())
    said = f"; {counted(number, 'image')} (first: {int(missing.argmax())}) without a value (NaN) will not be used"
    return values[~missing], said if number else ""


def _with_missing(values: NDArray[Any], source: SourceArray) -> NDArray[np.int64] | None:
    """Return class numbers of a table's column with empty cells, which are no labels; None for values to predict."""
    texts, present = source.attributes.get("text"), np.isfinite(values)
    if texts is None or not all(str(text).lstrip("-").isdigit() for text in np.asarray(texts)[present].tolist()):
        return None
    return np.where(present, values, _MISSING).astype(np.int64)


def _from_one_hot(samples: Samples) -> NDArray[np.int64] | None:
    """Return class numbers of rows that hold a single 1 each, and else zeros; None if they hold something else."""
    rows = samples.read(0, len(samples), (slice(0, samples.size(0)[0]),))
    if not (np.isin(rows, (0, 1)).all() and (rows.sum(axis=1) == 1).all()):
        return None
    numbers: NDArray[np.int64] = rows.argmax(axis=1)
    return numbers


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _words(words: Sequence[str], classes: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return class numbers of words; an empty word is no label."""
    known = [word for word in words if word.strip()]
    if len(known) == len(words):
        return numbered(words, classes)
    numbers, names = numbered(known, classes)
    rest = iter(numbers.tolist())
    return np.array([next(rest) if word.strip() else _MISSING for word in words], dtype=np.int64), names
