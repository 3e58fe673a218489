"""Model process: holds a trained network, or several of an ensemble, and applies them. Runs as a child process.

It answers requests: ``("load", paths, tile, imports, folders)`` with the fields of a
`menndl_dask.prediction.network.ModelDescription`, ``("predict", views, flips)`` with an array,
``("encode", path, imports, kinds)`` with the dict of a genome and the shapes of the model's inputs, where gene kinds of
these names are read if they are found, and ``("check", kinds, problem, imports)`` with the names of the Keras layers of
the user's own that networks of these gene kinds need. The imports are names of the user's own code that may be
imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask import own_code
from menndl_dask.errors import GenomeError
from menndl_dask.evaluation.child_process import connect_to_parent, serve
from menndl_dask.genome.gene import find_kind
from menndl_dask.genome.keras_model.network_file import load_network, recorded_kinds
from menndl_dask.problem import Problem
from menndl_dask.program.keras_import import import_frugally


class _Predictor:
    """Answers requests; Keras is imported with the first."""

    def __init__(self) -> None:
        self._models: list[Any] = []

    def __call__(self, request: tuple[Any, ...]) -> Any:
        import_frugally("keras")
        match request:
            case ("load", paths, tile, imports, folders):
                own_code.allow(imports, folders)
                return self._load(paths, tile)
            case ("predict", views, flips):
                return self._predict(views, flips)
            case ("encode", path, imports, kinds):
                return _encode(path, imports, kinds)
            case ("check", kinds, problem, imports):
                return _check(kinds, problem, imports)
        raise ValueError(f"unknown request {request[0]!r}")

    def _load(self, paths: Sequence[str], tile: tuple[int, ...] | None) -> dict[str, Any]:
        import menndl_dask.genome.keras_model.decoder  # noqa: F401  # registers our own layers

        models = [load_network(path) for path in paths]
        self._models = models if tile is None else [resize(model, tile) for model in models]
        first, *others = [describe(model) for model in self._models]
        for path, other in zip(paths[1:], others, strict=True):
            if other != first:
                raise ValueError(f"{path}: expected inputs and outputs as those of {paths[0]}, {first}, got {other}")
        return first

    def _predict(self, views: list[Any], flips: Sequence[tuple[int, ...]]) -> Any:
        """Return the mean of the predictions of all networks for the images flipped along some spatial axes."""
        total: Any = 0.0
        for model in self._models:
            for axes in flips:
                turned = [_flip(view, axes) for view in views]
                found = model.predict_on_batch(turned if len(turned) > 1 else turned[0])
                total = total + (_flip(found, axes) if found.ndim == views[0].ndim else found)
        return total / (len(self._models) * len(flips))


def _flip(values: NDArray[Any], axes: Sequence[int]) -> NDArray[Any]:
    return np.flip(values, tuple(1 + axis for axis in axes))


def describe(model: Any) -> dict[str, Any]:
    """Return the fields of a `menndl_dask.prediction.network.ModelDescription`."""
    last = model.outputs[0]._keras_history.operation
    function = getattr(last, "activation", None)
    return {
        "names": tuple(tensor.name for tensor in model.inputs),
        "inputs": tuple(tuple(tensor.shape[1:]) for tensor in model.inputs),
        "output": tuple(model.outputs[0].shape[1:]),
        "activation": getattr(function, "__name__", "") or type(last).__name__.lower(),
    }


def _encode(path: str, imports: Sequence[str], kinds: Sequence[str]) -> dict[str, Any]:
    from menndl_dask.genome.keras_model.encoder import read_network

    own_code.allow([*imports, *kinds])
    model = load_network(path, with_kinds=True)
    for kind in kinds:
        with suppress(GenomeError):  # of a module that is gone
            find_kind(kind)
    for name in {*imports, *recorded_kinds(path)}:  # modules of gene kinds, for the layers that they read
        own_code.import_own(name.partition(":")[0], path)
    encoded = read_network(model)
    inputs = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    return {**encoded.genome.to_dict(), "inputs": inputs, "notes": list(encoded.notes)}


def _check(kinds: Sequence[str], problem: dict[str, Any], imports: Sequence[str]) -> list[str]:
    from menndl_dask.genome.keras_model.kind_check import check_kind

    own_code.allow(imports)
    of = Problem.from_dict(problem)
    return sorted({name for kind in kinds for name in check_kind(find_kind(kind), of)})  # type: ignore[arg-type]


def resize(model: Any, tile: tuple[int, ...]) -> Any:
    """Return a network with the same weights for another image size."""
    import keras

    shapes = {tuple(tensor.shape[1:-1]) for tensor in model.inputs}
    if shapes == {tile}:
        return model
    inputs = [keras.Input((*tile, tensor.shape[-1]), name=tensor.name) for tensor in model.inputs]
    resized = keras.models.clone_model(model, input_tensors=inputs if len(inputs) > 1 else inputs[0])
    resized.set_weights(model.get_weights())
    return resized


if __name__ == "__main__":
    serve(connect_to_parent(), _Predictor())
