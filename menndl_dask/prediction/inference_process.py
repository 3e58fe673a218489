"""Inference process: builds a network, and measures its predictions and nothing else. Runs as a child process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from menndl_dask import own_code
from menndl_dask.evaluation.child_process import connect_to_parent, serve
from menndl_dask.genome.genome import Genome
from menndl_dask.problem import Problem
from menndl_dask.program.keras_import import import_frugally
from menndl_dask.training.batches import as_model_input

_REPEATS, _SECONDS = 200, 2.0  # of a measurement, at most
_FEWEST = 5
_WARM = 3  # predictions that are not counted
_BATCH_BYTES, _LARGEST_BATCH = 64e6, 64
_STATUS = Path("/proc/self/status")

Predict = Callable[[Sequence[NDArray[Any]]], Any]


def answer(request: tuple[dict[str, Any], dict[str, Any], float, tuple[str, ...]]) -> dict[str, float]:
    """Measure the network of a genome for a problem, whose layers hold so many bytes for a sample.

    The last part of the request is the import path of the worker, for code of the user's own.
    """
    sys.path.extend(path for path in request[3] if path not in sys.path)
    import_frugally("keras")
    own_code.allow([own_code.ALL])  # the driver has looked at what it asks for
    import keras

    from menndl_dask.genome.keras_model.decoder import decode

    genome, problem = Genome.from_dict(request[0]), Problem.from_dict(request[1])
    shapes = problem.facts.input_shapes
    batch = int(min(_LARGEST_BATCH, max(1, _BATCH_BYTES / request[2])))
    rng = np.random.default_rng(0)
    one, many = ([rng.normal(size=(n, *shape)).astype("float32") for shape in shapes] for n in (1, batch))
    # the framework's own threads and buffers are there after the first prediction of any network
    tiny = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 3)])
    _predicting(tiny)([np.zeros((1, 8, 8, 1), "float32")])
    before, since, own = reset_peak(), psutil.cpu_times(), time.process_time()
    began = time.monotonic()
    predict = _predicting(decode(genome, problem, 0))
    costs = {"latency_ms": 1000 * median_s(predict, one), "samples_per_s": batch / median_s(predict, many)}
    seconds = time.monotonic() - began
    if before is not None:
        costs["inference_bytes"] = max(0.0, memory("VmHWM:") - before)
    busy = (busy_s() - busy_s(since) - (time.process_time() - own)) / (seconds * (psutil.cpu_count() or 1))
    return {**costs, "busy_share": min(1.0, max(0.0, busy))}


def _predicting(model: Any) -> Predict:
    """Return the compiled prediction of a network, as its exported file has it."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(lambda *views: model(as_model_input(views), training=False))
        return lambda views: compiled(*map(tf.constant, views)).numpy()
    return lambda views: model.predict_on_batch(as_model_input(views))


def median_s(predict: Predict, views: Sequence[NDArray[Any]]) -> float:
    """Return the median time of a prediction, seconds."""
    for _ in range(_WARM):
        predict(views)
    taken: list[float] = []
    while len(taken) < _FEWEST or (len(taken) < _REPEATS and sum(taken) < _SECONDS):
        began = time.perf_counter()
        predict(views)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def busy_s(times: Any = None) -> float:
    """Return the seconds that all cores have computed."""
    times = times or psutil.cpu_times()
    return float(sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal")))


def reset_peak() -> float | None:
    """Let the system count the peak of memory from now on, and return what is in use, in bytes; None if it cannot."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return memory("VmRSS:")
    return None


def memory(name: str) -> float:
    """Return a size that Linux tells of this process, such as ``VmHWM:`` (peak) or ``VmRSS:``, in bytes."""
    return float(next(line.split()[1] for line in _STATUS.read_text().splitlines() if line.startswith(name))) * 1024


if __name__ == "__main__":
    serve(connect_to_parent(), answer)
