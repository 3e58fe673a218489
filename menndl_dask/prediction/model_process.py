"""Model process: holds one trained network and applies it. Runs as a child of a worker or of the driver.

It answers requests: ``("load", path, tile)`` with the fields of a `menndl_dask.prediction.blocks.ModelDescription`,
``("predict", views)`` with an array, ``("encode", path)`` with the dict of a genome.
"""

from __future__ import annotations

from typing import Any

from menndl_dask.evaluation.child_process import connect_to_parent, serve
from menndl_dask.evaluation.keras_import import import_frugally


class _Predictor:
    """Answers requests; Keras is imported with the first."""

    def __init__(self) -> None:
        self._model: Any = None

    def __call__(self, request: tuple[Any, ...]) -> Any:
        import_frugally("keras")
        match request:
            case ("load", path, tile):
                return self._load(path, tile)
            case ("predict", views):
                return self._model.predict_on_batch(views if len(views) > 1 else views[0])
            case ("encode", path):
                return _encode(path)
        raise ValueError(f"unknown request {request[0]!r}")

    def _load(self, path: str, tile: tuple[int, ...] | None) -> dict[str, Any]:
        import keras

        import menndl_dask.genome.decoder  # noqa: F401  # registers our own layers

        model = keras.saving.load_model(path, compile=False)
        self._model = model if tile is None else _resize(model, tile)
        last = self._model.outputs[0]._keras_history.operation
        function = getattr(last, "activation", None)
        return {
            "names": tuple(tensor.name for tensor in self._model.inputs),
            "inputs": tuple(tuple(tensor.shape[1:]) for tensor in self._model.inputs),
            "output": tuple(self._model.outputs[0].shape[1:]),
            "activation": getattr(function, "__name__", "") or type(last).__name__.lower(),
        }


def _encode(path: str) -> dict[str, Any]:
    import keras

    from menndl_dask.genome.encoder import encode

    return encode(keras.saving.load_model(path, compile=False)).to_dict()


def _resize(model: Any, tile: tuple[int, ...]) -> Any:
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
