"""Values for each sample that come along as coordinates, and what is left out. Runs on the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.axes import CHANNEL, SAMPLE, SPATIAL, format_dims
from menndl_dask.data.formats.arrangement.choice import called, is_coordinate
from menndl_dask.data.formats.arrangement.label_source import LabelSource
from menndl_dask.data.formats.arrangement.view import View
from menndl_dask.data.formats.content import CLASSES, Content, split_name
from menndl_dask.problem import SPLITS

_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Columns:
    """Coordinates along the samples, and what is to be said of them and of other arrays."""

    values: Mapping[str, NDArray[Any]]
    notes: tuple[str, ...]


def find_columns(content: Content, labels: LabelSource, taken: Sequence[str], views: Sequence[View]) -> Columns:
    """Return the arrays with a value for each sample, other than images and labels; none is called as a dimension."""
    number = len(views[0].variable.samples)
    reserved = {"sample", "samples", "label", *SAMPLE, *CHANNEL, *SPATIAL, *(view.variable.name for view in views)}
    reserved |= {dim for view in views for dim in view.layout.dims}
    used = {name for view in views for name in view.used}
    everything = {**content.arrays, **labels.arrays}
    listed = set(called(everything, CLASSES))
    values: dict[str, NDArray[Any]] = {}
    notes: list[str] = []
    left: list[str] = []
    for name, source in everything.items():
        if name in taken or name in used or name in listed or is_coordinate(name, source, everything):
            continue
        if source.shape != (number,):
            left.append(f"{name} {format_dims(list(map(str, source.shape)))}")
            continue
        new = name.replace("/", "_")
        if new.lower() in reserved:
            notes.append(f"changed: the column {name} is called {new}_column: {new} is a dimension or a variable")
            new = f"{new}_column"
        values[new] = _decoded(np.asarray(source.array[:]))
    if "split" in values:
        names = np.array([split_name(name) for name in values.pop("split").tolist()])
        unknown = sorted(set(names.tolist()) - set(SPLITS))
        new = "split_column" if unknown else "split"
        if unknown:
            notes.append(f"changed: the column split is called {new}: {unknown[0]!r} is none of {', '.join(SPLITS)}; "
                         "splits will be drawn")
        values[new] = names
    if left:
        more = ", …" if len(left) > _SHOWN else ""
        notes.append(f"left out: {', '.join(left[:_SHOWN])}{more} (no value for each sample, nor images or labels)")
    return Columns(values, tuple(notes))


def _decoded(values: NDArray[Any]) -> NDArray[Any]:
    """Return text for bytes."""
    if values.dtype.kind not in "SO":
        return values
    return np.array([v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist()])
