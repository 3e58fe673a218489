"""Cut the images of a store into chips, with labels of theirs. Runs on the driver."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from menndl_dask.data.formats.arrangement.label_variable import Truth
from menndl_dask.data.formats.arrangement.store_writer import Store, Variable
from menndl_dask.data.formats.arrangement.summary import shares
from menndl_dask.data.formats.conversion_options import Options
from menndl_dask.data.formats.labels.chips import Chips, chip_places, class_shares, share_classes
from menndl_dask.data.formats.labels.mask import value_counts
from menndl_dask.data.formats.samples import samples_of
from menndl_dask.errors import DataError
from menndl_dask.text import counted

GROUP = "source_image"
"""Coordinate that holds the image from which a chip was cut."""

_LEAST_LABELLED = 0.5  # share of a chip's pixels that must have a label


def cut(store: Store, truth: Truth | None, options: Options) -> tuple[Store, tuple[str, ...]]:
    """Return a store of square chips, side by side; each has the label of its pixels, or of its image.

    With `Options.label_share`, a chip is of the class if at least a share of its labelled pixels is.

    Raises
    ------
    DataError
        If no chip fits, views differ in size, or the share needs labels that are not there.
    """
    side = options.chips or 0
    views = [variable for variable in store.variables if variable.name != "label"]
    axes = [tuple(place for place, dim in enumerate(view.dims) if dim != "channel") for view in views]
    number = len(views[0].samples)
    sizes = [
        [tuple(v.samples.size(n)[a] for a in ax) for n in range(number)] for v, ax in zip(views, axes, strict=True)
    ]
    if any(other != sizes[0] for other in sizes[1:]):
        raise DataError("chips: expected views of one size, got views of different sizes")
    places, beyond = chip_places(sizes[0], side)
    if not places:
        raise DataError(f"chips: expected images of at least {side} pixels along each side, got {sizes[0][0]}")
    notes = [
        f"changed: images were cut into {counted(len(places), 'chip')} of {' x '.join([str(side)] * len(axes[0]))}"
    ]
    if beyond:
        notes.append(f"left out: {counted(beyond, 'pixel')} at the ends of images, where no chip fits")
    label = None
    if truth is not None and truth.by_pixel:
        label = replace(truth.variable, samples=Chips(truth.variable.samples, places, side, tuple(range(len(axes[0])))))
    if options.label_share is not None:
        if label is None or truth is None or label.samples.dtype.kind == "f":
            got = "none" if label is None else "values"
            raise DataError(f"label-share: expected a class for each pixel, got {got}")
        label, places, said = _shared(label, truth, options.label_share)
        notes += said
    elif truth is not None and label is None:
        values = truth.variable.samples.read(0, number, tuple(slice(0, n) for n in truth.variable.samples.size(0)))
        label = replace(truth.variable, samples=samples_of(values[[image for image, _ in places]], 0))
    cuts = [replace(v, samples=Chips(v.samples, places, side, ax)) for v, ax in zip(views, axes, strict=True)]
    images = np.array([image for image, _ in places])
    columns = {name: values[images] for name, values in store.columns.items()}
    columns[GROUP] = columns.get("file", images)
    notes.append(f"coordinates: {GROUP}: the image of each chip; with it as group, chips of an image stay in one split")
    variables = (*cuts, *([label] if label is not None else []))
    return Store(variables, columns, False, store.attributes), tuple(notes)


def _shared(
    label: Variable, truth: Truth, wanted: str
) -> tuple[Variable, list[tuple[int, tuple[int, ...]]], list[str]]:
    chips = label.samples
    assert isinstance(chips, Chips)
    most = len(truth.classes) or _most(truth)
    classes = truth.classes or tuple(map(str, range(most)))
    numbers, name, share = share_classes(wanted, classes)
    counted_pixels = class_shares(chips, len(classes), truth.fill)
    all_pixels = int(np.prod(chips.size(0)))
    enough = counted_pixels.labelled >= _LEAST_LABELLED * all_pixels
    kept = np.flatnonzero(enough)
    if not len(kept):
        raise DataError("label-share: expected chips with labels in at least half of their pixels, got none")
    values = (counted_pixels.of(numbers)[kept] >= share).astype(np.int64)
    names = (f"no {name}", name)
    which = " + ".join(classes[number] for number in numbers)
    others = ", ".join(classes[number] for number in range(len(classes)) if number not in numbers)
    split = shares([(names[value], int((values == value).sum())) for value in (0, 1)])
    notes = [
        f"labels: a chip is {name!r} if at least {share:g} of its labelled pixels are {which} (not {others}): {split}"
    ]
    if len(kept) < len(enough):
        notes.append(
            f"left out: {counted(len(enough) - len(kept), 'chip')} with labels in less than half of the pixels"
        )
    variable = Variable("label", samples_of(values, 0), (), {"classes": list(names)})
    return variable, [chips.places[place] for place in kept.tolist()], notes


def _most(truth: Truth) -> int:
    return max(number for number in value_counts(truth.variable.samples) if number != truth.fill) + 1
