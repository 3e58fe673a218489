"""Which variables and columns a store gets from a source, and what is to be said of them. Runs on the driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from menndl_dask.data.axes import CHANNEL, SPATIAL
from menndl_dask.data.formats.arrangement.choice import choose, is_coordinate
from menndl_dask.data.formats.arrangement.columns import Columns, find_columns
from menndl_dask.data.formats.arrangement.label_source import LabelSource
from menndl_dask.data.formats.arrangement.label_variable import Truth, read_truth
from menndl_dask.data.formats.arrangement.placement import check_places
from menndl_dask.data.formats.arrangement.store_writer import Store, Variable
from menndl_dask.data.formats.arrangement.tiles import GROUP, cut
from menndl_dask.data.formats.arrangement.view import View, read_view
from menndl_dask.data.formats.content import Content, SourceArray
from menndl_dask.data.formats.conversion_options import Options
from menndl_dask.data.formats.dimension import image_layout
from menndl_dask.data.formats.samples import equal_sizes
from menndl_dask.errors import DataError
from menndl_dask.text import counted

_SPLITS = 3


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A store to be written, and what is said when it is."""

    store: Store
    notes: tuple[str, ...]
    late: tuple[Callable[[], str], ...] = ()  # what is known only when all values were read
    options: tuple[str, ...] = ()  # that the next command needs

    def lines(self) -> list[str]:
        """Return what to say when all is written, each as ``kind: text``."""
        return [*self.notes, *(line for known in self.late if (line := known()))]

    def next_command(self, path: Path) -> str:
        """Return the command that comes next."""
        if not any(variable.name == "label" for variable in self.store.variables):
            return f"menndl predict RUN/best.keras {path} PREDICTED.zarr"
        return " ".join(["menndl check", str(path), *self.options])


def arrange(labels: LabelSource, options: Options) -> Arrangement:
    """Decide what the store of a conversion holds.

    Raises
    ------
    DataError
        If arrays, shapes, labels or options do not fit together.
    """
    content = labels.content
    here = None if labels.elsewhere else labels.label
    choice = choose(content, options.images, here, elsewhere=labels.elsewhere is not None)
    label = labels.label if labels.elsewhere else choice.label
    truth = None if label is None else labels.arrays[label]
    notes = [*content.notes, *choice.notes, *labels.notes]
    views = _views(content, choice.images, truth, options)
    if truth is not None:
        check_places(content.arrays[choice.images[0]], truth, _files(content), labels.elsewhere or str(label))
    read = read_truth(labels, label, views[0], options)
    variables: list[Variable] = [view.variable for view in views]
    if read is not None:
        variables.append(read.variable)
    columns = find_columns(content, labels, (*choice.images, *([label] if label else [])), views)
    store = Store(tuple(variables), columns.values, views[0].layout.axis is None, _attributes(content, views, read))
    _check(store, columns)
    late = [line for view in views for line in view.late]
    notes += _view_lines(views, choice.images)
    store, said = cut(store, read, options) if options.chips is not None else (store, ())
    notes += read.notes if read else [_unlabelled(labels, choice.images)]
    notes += [*columns.notes, *said, *_split_lines(store)]
    return Arrangement(store, tuple(notes), tuple(late), _next_options(store, read))


def _files(content: Content) -> list[str]:
    source = content.arrays.get("file")
    return [] if source is None else list(map(str, np.asarray(source.array[:]).tolist()))


def _views(content: Content, names: Sequence[str], truth: SourceArray | None, options: Options) -> tuple[View, ...]:
    taken = ("sample", "samples", "label", "split", "file", *SPATIAL, *CHANNEL)
    short = [name.replace("/", "_") for name in names]
    kept = ["image"] if len(names) == 1 else [f"{name}_image" if name.lower() in taken else name for name in short]
    views = []
    for new, name in zip(kept, names, strict=True):
        source = content.arrays[name]
        try:
            layout = image_layout(name, source, truth, options.dims)
        except DataError as error:
            raise DataError(f"{new}: {error}") from None
        views.append(read_view(new, source, layout, content, options.nodata))
    first = views[0]
    for view in views[1:]:
        if len(view.variable.samples) != len(first.variable.samples):
            expected = f"{len(first.variable.samples)} samples as in {first.variable.name}"
            raise DataError(f"{view.variable.name}: expected {expected}, got {len(view.variable.samples)}")
        if (view.layout.axis is None) != (first.layout.axis is None):
            raise DataError(f"{view.variable.name}: expected samples as in {first.variable.name}, got one image")
    return tuple(views)


def _attributes(content: Content, views: Sequence[View], read: Truth | None) -> dict[str, Any]:
    """Return whether the samples are in order; pages with a label each may be in any."""
    layout = views[0].layout
    pages = layout.pages or not layout.ordered
    each = read is not None and not read.by_pixel
    ordered = (content.consecutive or any(view.layout.ordered for view in views)) and not (each and pages)
    return {"consecutive": True} if ordered and layout.axis is not None else {}


def _check(store: Store, columns: Columns) -> None:
    """Check that labels and images of each sample have equal sizes."""
    label = store.variables[-1]
    view = store.variables[0]
    spatial = tuple(dim for dim in view.dims if dim != "channel")
    if label.name != "label" or set(label.dims) != set(spatial):
        return
    number = 1 if equal_sizes(label.samples) and equal_sizes(view.samples) else len(view.samples)
    for place in range(number):
        sizes = dict(zip(view.dims, view.samples.size(place), strict=True))
        got = label.samples.size(place)
        expected = tuple(sizes[dim] for dim in label.dims)
        if got != expected:
            file = columns.values.get("file")
            which = f"sample {place}" if file is None else str(file[place])
            raise DataError(f"label: {which}: expected a mask of the image's size {expected}, got {got}")


def _view_lines(views: Sequence[View], names: Sequence[str]) -> list[str]:
    lines = []
    for view, name in zip(views, names, strict=True):
        variable, samples = view.variable, view.variable.samples
        sizes = sorted({samples.size(n) for n in range(1 if equal_sizes(samples) else len(samples))})
        text = _size(sizes[0], variable.dims)
        if len(sizes) > 1:
            text = f"{_size(sizes[0], variable.dims)} to {_size(sizes[-1], variable.dims)} (sizes differ and are kept)"
        number = "one image" if view.layout.axis is None else counted(len(samples), "sample")
        array = f", array {name}" if name != variable.name else ""
        lines.append(f"images: {variable.name}: {number} of {text}, {samples.dtype.name}{array}")
        lines.append(f"axes: {variable.name}: {', '.join(view.layout.dims)} ({view.layout.rule})")
        if "spacing" in variable.attributes:
            unit = variable.attributes.get("spacing_unit", "in a unit that the source does not say")
            lines.append(f"axes: {variable.name}: size of a pixel {variable.attributes['spacing']} {unit}")
        lines += view.notes
    return lines


def _size(size: Sequence[int], dims: Sequence[str]) -> str:
    return " x ".join(f"{length} {dim}" for length, dim in zip(size, dims, strict=True))


def _unlabelled(labels: LabelSource, images: Sequence[str]) -> str:
    arrays, pixels = labels.arrays, labels.content.arrays[images[0]].shape
    others = [n for n, s in arrays.items() if len(s.shape) == 1 and n not in ("file", "split", "folder")]
    others = [n for n in others if not is_coordinate(n, arrays[n], arrays)]
    others += [n for n, s in arrays.items() if len(pixels) > 1 and s.shape == pixels and n not in images]
    hint = f"; --label NAME makes labels of one of {', '.join(others)}" if others else ""
    return f"labels: none found: these are images to predict{hint}"


def _split_lines(store: Store) -> list[str]:
    split = store.columns.get("split")
    lines = []
    if split is not None:
        names, numbers = np.unique(split.astype(str), return_counts=True)
        lines.append("splits: " + ", ".join(f"{n:,} {name}" for name, n in zip(names, numbers.tolist(), strict=True)))
    others = [name for name in store.columns if name not in ("split", GROUP)]
    if others and not store.one_image:
        lines.append(f"coordinates: {', '.join(others)}")
    if store.attributes.get("consecutive"):
        lines.append("axes: samples are in order and neighbours are alike: splits will be blocks of neighbours")
    return lines


def _next_options(store: Store, read: Truth | None) -> tuple[str, ...]:
    names = [variable.name for variable in store.variables if variable.name != "label"]
    found = ["--inputs", *names] if names != ["image"] else []
    group = next((name for name in (GROUP, "folder") if name in store.columns), None)
    if group is not None and _can_be_split(store, group, read):
        found += ["--group", group]
    if read is not None and read.regression:
        found += ["--task", "regression"]
    return tuple(found)


def _can_be_split(store: Store, group: str, read: Truth | None) -> bool:
    """Whether there are groups for three splits: of each class, if an image has one."""
    groups = store.columns[group]
    if "split" in store.columns:
        return group == GROUP
    label = store.variables[-1]
    if read is None or read.by_pixel or group == GROUP or label.samples.dtype.kind == "f" or label.dims:
        return len(np.unique(groups)) >= _SPLITS
    values = label.samples.read(0, len(groups), ())
    return all(len(np.unique(groups[values == value])) >= _SPLITS for value in np.unique(values))
