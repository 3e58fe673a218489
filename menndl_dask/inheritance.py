"""Inheritance: a network begins with the weights of its parents where layers match. Runs in the training process.

Weights lie in a file for each network, written aside and then renamed. One that is not there, or that cannot be read,
is no obstacle: the child begins afresh, and says so.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from menndl_dask.alignment import Form, aligned, weights_in

_LOG = logging.getLogger(__name__)
_KINDS = "kinds"
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a network began with.

    Parameters
    ----------
    weights
        For the number of each parent whose weights could be read, how many were taken from it.
    lacking
        In words what could not be read, or nothing.
    """

    weights: Mapping[str, int] = field(default_factory=dict)
    lacking: str = ""


def inherit(model: keras.Model, parents: Sequence[tuple[int, str]]) -> Inheritance:
    """Give a model's layers the weights of their counterparts in its parents; see `menndl_dask.alignment`.

    Parameters
    ----------
    model
        With the weights that it would begin with otherwise, and keeps where nothing matches.
    parents
        Their numbers and the files of their weights. What the first has no counterpart for may come from the second.
    """
    layers = _layers(model)
    forms = [_form(type(layer).__name__, layer.get_weights()) for layer in layers]
    left = list(range(len(layers)))
    taken: dict[str, int] = {}
    lacking: list[str] = []
    for number, file in parents:
        found = _read(Path(file))
        if isinstance(found, str):
            lacking.append(f"the weights of network {number} {found}")
            continue
        counterparts = aligned(forms, [_form(kind, arrays) for kind, arrays in found])
        pairs = [(i, counterpart) for i in left if (counterpart := counterparts[i]) is not None]
        for i, counterpart in pairs:
            layers[i].set_weights(found[counterpart][1])
        left = [i for i in left if counterparts[i] is None]
        taken[str(number)] = sum(weights_in(forms[i]) for i, _ in pairs)
    if lacking and not taken:
        lacking.append("it began afresh")
    return Inheritance(taken, ", ".join(lacking))


def bequeath(model: keras.Model, path: Path, aside: Path) -> None:
    """Write a model's weights for its children; whoever reads sees all of them or none."""
    layers = _layers(model)
    arrays: dict[str, Any] = {
        f"{i}.{j}": array for i, layer in enumerate(layers) for j, array in enumerate(layer.get_weights())
    }
    arrays[_KINDS] = np.array(json.dumps([[type(layer).__name__, len(layer.weights)] for layer in layers]))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            np.savez(file, **arrays)
        aside.replace(path)
    except OSError as error:  # a full disk is no network's fault
        _LOG.warning("%s: no weights could be written: %s", path, error.strerror)


def _layers(model: keras.Model) -> list[keras.Layer]:
    return [layer for layer in model.layers if layer.weights]


def _form(kind: str, arrays: Sequence[Array]) -> Form:
    return kind, tuple(array.shape for array in arrays)


def _read(path: Path) -> list[tuple[str, list[Array]]] | str:
    """Return the kind and the weights of each layer in a file, or in words what is wrong with it."""
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            kinds = json.loads(str(file[_KINDS]))
            return [(kind, [file[f"{i}.{j}"] for j in range(count)]) for i, (kind, count) in enumerate(kinds)]
    except FileNotFoundError:
        return "are not there any more"
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        _LOG.warning("%s: the weights cannot be read", path, exc_info=True)
        return "cannot be read"
