"""What a device does, timed on any backend of Keras: functions, and its peak for products. Runs as a child process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from menndl_dask.training.batches import as_model_input

_WARM = 2  # calls that are not counted
_FEWEST, _MOST = 3, 200  # calls that are
_LARGEST = 8192  # rows of the matrices of a product
_PIXELS, _CHANNELS, _MOST_IMAGES = 64, 128, 256  # of the images of a convolution with kernels of 3 × 3
_COPIED = 2**26  # numbers that are read and written
Run = Callable[[], Any]  # computes, and returns when the device is done


def name() -> str:
    """Return the backend and its first device, as ``tensorflow on cpu``."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        details = tf.config.experimental.get_device_details(found[0]) if found else {}
        device = details.get("device_name", "gpu") if found else "cpu"
    elif backend == "torch":
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    else:
        import jax

        device = jax.devices()[0].device_kind
    return f"{backend} on {device}"


def compiled(function: Callable[..., Any], *arguments: Any) -> Run:
    """Return a function of tensors that lie on the device, compiled as the backend does and applied to these."""
    backend = keras.backend.backend()
    tensors = [keras.ops.convert_to_tensor(argument) for argument in arguments]
    if backend == "tensorflow":
        import tensorflow as tf

        traced = tf.function(function, autograph=False)
        return lambda: _done(traced(*tensors))
    if backend == "jax":
        import jax

        jitted: Any = jax.jit(function)
        return lambda: jitted(*tensors).block_until_ready()
    import torch

    def run() -> Any:
        with torch.no_grad():
            return _done(function(*tensors))

    return run


def predicting(model: Any, views: Sequence[Any]) -> Run:
    """Return the forward pass of a model over views that lie on the device."""
    if keras.backend.backend() == "jax":  # its weights are arguments, not constants
        state = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]

        def forward(trained: Any, others: Any, *images: Any) -> Any:
            return model.stateless_call(trained, others, as_model_input(images), training=False)[0]

        import jax

        jitted: Any = jax.jit(forward)
        tensors = [keras.ops.convert_to_tensor(view) for view in views]
        return lambda: jitted(*state, *tensors).block_until_ready()
    return compiled(lambda *images: model(as_model_input(images), training=False), *views)


def _done(result: Any) -> Any:
    """Return a result when the device has computed it."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if tf.config.list_logical_devices("GPU"):
            tf.test.experimental.sync_devices()
    else:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return result


def times_s(run: Run, seconds: float) -> NDArray[np.float64]:
    """Return the times of calls, of as many as fit into some seconds."""
    for _ in range(_WARM):
        run()
    taken: list[float] = []
    while len(taken) < _FEWEST or (len(taken) < _MOST and sum(taken) < seconds):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return np.asarray(taken)


def median_s(run: Run, seconds: float) -> float:
    """Return the median time of a call."""
    return float(np.median(times_s(run, seconds)))


def _least_s(run: Run, seconds: float) -> float:
    return float(times_s(run, seconds).min())


def peak(precision: str, seconds: float) -> dict[str, float]:
    """Return what the device reaches now with numbers of a precision, each in the fastest of some calls.

    Returns
    -------
    dict
        ``product`` and ``convolution``: FLOP/s of square matrices and of 3 × 3 kernels on 128 channels, of the size
        that reaches most. ``bandwidth``: bytes/s that are read and written when a number is added to each of many.
        ``call_s``: seconds of a call that computes next to none.
    """
    found = {"product": 0.0, "convolution": 0.0}
    rows, images = 256, 1
    while rows <= _LARGEST:
        matrix = _random((rows, rows), precision)
        taken = _least_s(compiled(keras.ops.matmul, matrix, matrix), seconds)
        found["product"] = max(found["product"], 2.0 * rows**3 / taken)
        if taken > seconds:
            break
        rows *= 2
    kernels = _random((3, 3, _CHANNELS, _CHANNELS), precision)
    while images <= _MOST_IMAGES:
        batch = _random((images, _PIXELS, _PIXELS, _CHANNELS), precision)
        taken = _least_s(compiled(lambda x, k: keras.ops.conv(x, k, padding="same"), batch, kernels), seconds)
        flops = 2.0 * 9 * _CHANNELS**2 * images * _PIXELS**2
        found["convolution"] = max(found["convolution"], flops / taken)
        if taken > seconds:
            break
        images *= 2
    many, one = _random((_COPIED,), precision), _random((1,), precision)
    width = 4 if precision == "float32" else 2
    found["bandwidth"] = 2.0 * width * _COPIED / _least_s(compiled(lambda x: x + 1, many), seconds)
    found["call_s"] = _least_s(compiled(lambda x: x + 1, one), seconds)
    return found


def _random(shape: tuple[int, ...], precision: str) -> Any:
    values = np.random.default_rng(0).normal(size=shape) if len(shape) > 1 else np.ones(shape)
    return keras.ops.cast(values.astype("float32"), precision)


def device_memory() -> float | None:
    """Return the peak memory that the backend has used on its GPU, bytes; None without one, or where it is not told."""
    with suppress(Exception):  # what backends raise that do not know
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            if tf.config.list_logical_devices("GPU"):
                return float(tf.config.experimental.get_memory_info("GPU:0")["peak"])
        elif keras.backend.backend() == "torch":
            import torch

            if torch.cuda.is_available():
                return float(torch.cuda.max_memory_allocated())
        else:
            import jax

            return float((jax.devices()[0].memory_stats() or {})["peak_bytes_in_use"])
    return None
