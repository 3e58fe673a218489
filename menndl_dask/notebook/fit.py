"""A search in one call, from a script or a notebook: what ``menndl search`` does, and the run. Runs on the driver."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn

import numpy as np

from menndl_dask.cli import search
from menndl_dask.cli.parser import Parser
from menndl_dask.cluster import unguarded
from menndl_dask.data.formats.arrays import is_path, kind_of, store_of
from menndl_dask.data.formats.conversion_options import Options
from menndl_dask.errors import UserError, nearest
from menndl_dask.run.run import Run
from menndl_dask.terminal import say
from menndl_dask.validation import demand_kind

_OF_IMAGES = ("classes", "dims", "fill")  # options of images in memory


def fit(images: Any, labels: Any = None, *, run: str | os.PathLike[str] | None = None, **options: Any) -> Run:
    """Evolve a network for labelled images, compare it with the standard network, and return the run.

    This is the command ``menndl search``: what you leave out is planned, and the same call again carries on with its
    run. ``menndl resume``, ``report`` and ``predict`` work with the run too.

    Parameters
    ----------
    images
        Path or URL of a Zarr store with images and labels, or images in memory: an array of shape (sample, y, x),
        perhaps with a channel or a third spatial axis; a list of images of unequal size; a DataArray; or a Dataset
        with images and labels. Images in memory are written as a Zarr store beside the run.
    labels
        Labels of images in memory, in their order: a class number or name or other numbers for each image, or an image
        of class numbers for each. Of a Dataset the name of the variable. None beside a path.
    run
        The run directory; by default ``runs/`` and the name of the data.
    options
        Those of ``menndl search`` with underscores, such as ``hours=1``, ``evaluations=50``, ``workers=4``,
        ``cluster="slurm"`` or ``max_parameters=1e5``. For images in memory also ``classes`` (names of the classes),
        ``dims`` (names of the axes) and ``fill`` (class number of what has no label).

    Returns
    -------
    Run
        With the evaluations, the comparison (``run.headline``), the trained network (``run.model()``), the report
        (``run.path / "report.html"``) and pictures (``run.plot``).

    Raises
    ------
    UserError
        If the images, the labels or an option are not as expected.
    RunError
        If the run is of another search or cannot be written.
    """
    unguarded.leave_if_imported()  # before it plans
    demand_kind("run", run, (str, os.PathLike, NoneType), "the path of a run directory, or None")
    of_images = {name: options.pop(name) for name in _OF_IMAGES if name in options}
    parser = _Words("fit")
    commands = parser.add_subparsers()
    search.add_commands(commands)
    known = commands.choices["search"].options()
    words = [word for name, value in options.items() for word in _words(name, value, known)]
    if is_path(images):
        if labels is not None or of_images:
            given = "labels" if labels is not None else next(iter(of_images))
            raise UserError(f"{given}: expected only beside images in memory; a store has them")
        data = os.fspath(images)
    else:
        folder = Path("runs") if run is None else Path(run).parent
        store, lines = store_of(images, labels, folder=folder, options=_of_images(of_images))
        data = str(store)
        if lines:
            say("\n".join((f"written: {store}", *lines)))
    words = ["search", data, *words, *([] if run is None else ["--run", os.fspath(run)])]
    given_words = parser.parse_args(words)
    search.search(given_words, words)
    return Run(given_words.run)


class _Words(Parser):
    """The parser of the command; a mistake is an exception instead of the end of the program."""

    def options(self) -> dict[str, argparse.Action]:
        """Return the options by the names of their values."""
        return {action.dest: action for action in self._actions if action.option_strings}

    def error(self, message: str) -> NoReturn:
        raise UserError(f"fit: {message}")


def _words(name: str, value: Any, known: Mapping[str, argparse.Action]) -> Iterator[str]:
    """Yield an option of the call as words of the command."""
    action = known.get(name)
    if action is None or name == "help":
        hint = nearest(name, [*known, *_OF_IMAGES])
        raise UserError(f"{name}: expected an option of menndl search with underscores{hint or ', such as hours'}")
    if value is None or (value is False and action.nargs == 0):
        return
    flag = action.option_strings[0]
    if action.nargs == 0:
        if value is not True:
            raise UserError(f"{name}: expected True or False, got {value!r}")
        yield flag
        return
    many = isinstance(value, (list, tuple))
    each = [_word(name, one) for one in value] if many else [_word(name, value)]
    if many and action.nargs is None:  # flip,rotate=15
        each = [",".join(each) or "none"]
    if len(each) == 1:
        yield f"{flag}={each[0]}"  # also where it begins with a minus
    else:
        yield from (flag, *each)


def _word(name: str, value: Any) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, (str, int, float, os.PathLike)) and not isinstance(value, bool):
        return str(value)
    expected = "a word or a number"
    if callable(value):
        expected = "the name of a function that workers can import, such as 'my_losses:focal'"
    raise UserError(f"{name}: expected {expected}, got {kind_of(value)}")


def _of_images(given: Mapping[str, Any]) -> Options:
    values: dict[str, Any] = dict(given)
    for name in ("classes", "dims"):
        if name in values:
            if isinstance(values[name], str):
                raise UserError(f"{name}: expected a list of words, got {values[name]!r}")
            values[name] = tuple(map(str, values[name]))
    return Options(**values)
