"""Export process: rebuilds a trained network for use elsewhere, or runs what was exported. Runs as a child process.

It answers three requests: ``("load", path, tile, imports, folders)`` with the fields of a
`menndl_dask.prediction.network.ModelDescription`, ``("export", target, format, means, views)`` with the outputs of the
loaded network for images, after it has written it, and ``("run", path, format, views, imports, folders)`` with the
outputs of what was exported. It needs Keras with TensorFlow.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask import own_code
from menndl_dask.evaluation.child_process import connect_to_parent, serve
from menndl_dask.genome.keras_model.network_file import load_network
from menndl_dask.prediction.model_process import describe, resize
from menndl_dask.program.keras_import import import_frugally
from menndl_dask.training.batches import as_model_input

Array = NDArray[Any]


class _Exporter:
    """Answers requests; Keras is imported with the first."""

    def __init__(self) -> None:
        self._model: Any = None

    def __call__(self, request: tuple[Any, ...]) -> Any:
        import_frugally("keras")
        import menndl_dask.genome.keras_model.decoder  # noqa: F401  # registers our own layers

        match request:
            case ("load", path, tile, imports, folders):
                own_code.allow(imports, folders)
                model = load_network(path)
                self._model = model if tile is None else resize(model, tile)
                return describe(self._model)
            case ("export", target, kind, means, views):
                outputs = np.asarray(self._model.predict_on_batch(as_model_input(views)))
                _write(_with_means(self._model, means), Path(target), kind, views)
                return outputs
            case ("run", path, kind, views, imports, folders):
                own_code.allow(imports, folders)
                return _run(path, kind, views)
        raise ValueError(f"unknown request {request[0]!r}")


def _with_means(model: Any, means: Sequence[Sequence[float]] | None) -> Any:
    """Return the network with the replacement of missing values by the mean of their channel inside.

    Its layers are those of the network, whose constants become numbers: a converter takes arrays of TensorFlow for
    further inputs.
    """
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)
    if means is None:
        return model
    inputs = [keras.Input(tensor.shape[1:], name=tensor.name) for tensor in model.inputs]
    filled = []
    for view, mean in zip(inputs, means, strict=True):
        constant = np.asarray(mean, np.float32).reshape((1,) * (len(view.shape) - 1) + (-1,))
        filled.append(keras.ops.where(keras.ops.isnan(view), constant, view))
    return keras.Model(as_model_input(inputs), model.call(as_model_input(filled)))


def _write(model: Any, target: Path, kind: str, views: Sequence[Array]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the converters' authors must change
        if kind == "keras":
            model.save(target)
            return
        model(as_model_input([view[:1] for view in views]))  # Keras exports what has been called
        model.export(str(target), format={"savedmodel": "tf_saved_model"}.get(kind, kind), verbose=False)


def _run(path: str, kind: str, views: Sequence[Array]) -> Array:
    if kind == "keras":
        return np.asarray(load_network(path).predict_on_batch(as_model_input(views)))
    if kind == "savedmodel":
        import tensorflow as tf

        loaded = tf.saved_model.load(path)  # it owns the variables
        return np.asarray(loaded.serve(as_model_input(views)))
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    if len(names) != len(views):
        raise ValueError(f"expected an input for each view, {len(views)}, got {', '.join(names)[:200]}")
    return np.asarray(session.run(None, dict(zip(names, views, strict=True)))[0])


if __name__ == "__main__":
    serve(connect_to_parent(), _Exporter())
