"""Labels that lie beside the images: in a table, in another file, or in a folder of masks. Runs on the driver."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.formats.arrangement.choice import called, found_arrays
from menndl_dask.data.formats.content import LABELS, Content, Pieces, SourceArray
from menndl_dask.data.formats.conversion_options import Options
from menndl_dask.data.formats.csv import open_csv
from menndl_dask.data.formats.folders.folder import mask_files
from menndl_dask.data.formats.folders.folder_listing import NOT_READ, OUTLINES
from menndl_dask.data.formats.folders.image_file import OpenFile, image_arrays
from menndl_dask.data.formats.labels.points import position_columns
from menndl_dask.data.formats.labels.table import FILES, chosen_rows, match_rows, texts
from menndl_dask.data.formats.readers.readers import FORMATS, ending, opener
from menndl_dask.errors import DataError, nearest
from menndl_dask.text import counted

_TABLES = (".csv", ".tsv")


@dataclass(frozen=True, slots=True)
class LabelSource:
    """The images that have labels, and where their labels are."""

    content: Content  # the source, without images that have no row in the table
    arrays: Mapping[str, SourceArray]  # that may hold labels or columns
    label: str | None = None  # name of the array with the labels; None: the usual one
    elsewhere: str | None = None  # where they are, if not in the source
    positions: Mapping[str, SourceArray] = field(default_factory=dict)  # table of positions
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def open_labels(opened: ExitStack, content: Content, options: Options) -> LabelSource:
    """Open the labels of an option: an array of the source, or a file or folder, with a name after a colon.

    Raises
    ------
    DataError
        If they are not there, cannot be read, or do not match the images.
    """
    label = options.label
    if label is None or label in content.arrays:
        return LabelSource(content, content.arrays, label, classes=content.classes)
    path, name = _path_and_name(label)
    if path is None:
        if ending(Path(label), (*_TABLES, *FORMATS)) in (*_TABLES, *FORMATS) or "/" in label:
            raise DataError(f"{label}: expected a file with the labels, found none")
        return LabelSource(content, content.arrays, label)  # the caller says which arrays there are
    reader = opener(path)
    if reader is None:
        return _masks(opened, content, path)
    if path.is_file() and ending(path, (*_TABLES, *FORMATS)) not in (*_TABLES, *FORMATS):
        hint = NOT_READ if path.suffix.lower() in OUTLINES else "docs/formats.md lists the endings"
        raise DataError(f"{path}: expected a table, a folder of masks, or a file with masks, got {path.name}; {hint}")
    if path.suffix.lower() in _TABLES:
        table = opened.enter_context(open_csv(path))
        try:
            found = _table(content, table.arrays, path, name, options)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        return replace(found, notes=(*found.notes, *table.notes))
    other = opened.enter_context(reader(path))
    arrays = dict(other.arrays)
    chosen = name or other.label
    if chosen is None:
        large = [key for key, source in arrays.items() if len(source.shape) > 1] or list(arrays)
        likely = called(arrays, LABELS) or large
        if len(likely) != 1:
            raise DataError(f"{path}: expected one array with the labels, found {found_arrays(arrays)}; name it with "
                            f"--label {path.name}:NAME")  # fmt: skip
        chosen = likely[0]
    if chosen not in arrays:
        raise DataError(f"{path}: expected an array {chosen!r}, found {found_arrays(arrays)}{nearest(chosen, arrays)}")
    notes = [note for note in other.notes if note not in content.notes and not note.endswith("in images")]
    return LabelSource(content, arrays, chosen, path.name, classes=other.classes, notes=tuple(notes))


def _path_and_name(label: str) -> tuple[Path | None, str | None]:
    """Return an existing path and the name after a colon: ``table.csv:kind``."""
    if Path(label).exists():
        return Path(label), None
    path, colon, name = label.rpartition(":")
    return (Path(path), name) if colon and Path(path).exists() else (None, None)


def _files(content: Content) -> list[str]:
    source = content.arrays.get("file")
    images = content.arrays.get(content.images[0]) if content.images else None
    of_folder = images is not None and isinstance(images.array, Pieces)
    return list(map(str, np.asarray(source.array).tolist())) if source is not None and of_folder else []


def _table(
    content: Content, table: Mapping[str, SourceArray], path: Path, name: str | None, options: Options
) -> LabelSource:
    files = _files(content)
    if name is not None and name not in table:
        raise DataError(f"expected a column {name!r}, found {', '.join(table)}{nearest(name, table)}")
    are_drawn = options.radius is not None or options.heat is not None
    if position_columns(table) and name is None and (are_drawn or _are_positions(content, table)):
        return LabelSource(content, {}, None, path.name, positions=table)
    notes = []
    column = None
    if files:
        match = match_rows(table, files)
        notes.append(f"labels: {match.note}")
        if len(match.files) < len(files):
            content = _taken(content, match.files, len(files))
            content = replace(content, notes=tuple(n for n in content.notes if not n.startswith("taken: ")))
            notes.append(f"taken: {len(match.files):,} of {counted(len(files), 'image')} have a row in {path.name}")
        table = {key: chosen_rows(source, match.rows) for key, source in table.items()}
        column = match.column
    else:
        notes.append(f"labels: rows of {path.name} are taken in the order of the samples")
    if are_drawn:
        given = "radius" if options.heat is None else "heat"
        raise DataError(f"{given}: expected columns x and y with positions in pixels, found {', '.join(table)}")
    label = name or _label_column(table, column)
    others = {key: source for key, source in table.items() if key != column}
    return LabelSource(content, others, label, path.name, notes=tuple(notes))


def _are_positions(content: Content, table: Mapping[str, SourceArray]) -> bool:
    """Whether a table with columns x and y holds positions: it has no column of labels, or not a row for each image."""
    labels = [name for name in called(table, LABELS) if name.lower() not in ("y", "class", "category")]
    rows = len(texts(next(iter(table.values()))))
    samples = {source.shape[0] for name, source in content.arrays.items() if source.shape and name != "file"}
    return not labels or rows not in samples


def _label_column(table: Mapping[str, SourceArray], files: str | None) -> str:
    usual = called(table, LABELS)
    if {"x", "y"} <= {name.lower() for name in table}:
        usual = [name for name in usual if name.lower() != "y"]
    others = [n for n in table if n != files and n.lower() not in (*FILES, "split", "x", "y", "z", "id", "index", "")]
    found = usual or others
    if len(found) != 1:
        raise DataError(f"expected a column label, found {', '.join(table)}; name one with --label TABLE.csv:COLUMN")
    return found[0]


def _taken(content: Content, places: NDArray[np.int64], number: int) -> Content:
    """Return a folder's content with some of its images."""
    arrays = {}
    for name, source in content.arrays.items():
        array = source.array
        if isinstance(array, Pieces):
            arrays[name] = replace(source, array=Pieces([array.items[place] for place in places.tolist()]))
        elif source.shape == (number,):
            arrays[name] = replace(source, array=np.asarray(array)[places])
        else:
            arrays[name] = source
    return replace(content, arrays=arrays)


def _masks(opened: ExitStack, content: Content, folder: Path) -> LabelSource:
    files = _files(content)
    if not files:
        raise DataError(f"{folder}: expected a file with the labels, as the images are no folder; got a folder")
    found, notes = mask_files(folder, files)
    opening = OpenFile()
    opened.callback(opening.close)
    source, said = image_arrays(found, True, opening)
    return LabelSource(content, {"label": source}, "label", folder.name, notes=(*notes, *said))
