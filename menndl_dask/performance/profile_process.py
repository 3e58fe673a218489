"""Profile process: builds a network, and measures its layers, predictions and training steps. Runs as a child process.

Nothing else runs in it. What the device reaches is measured first, with the same numbers.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from menndl_dask import own_code
from menndl_dask.errors import one_line
from menndl_dask.evaluation.child_process import connect_to_parent, serve
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.shape import walk
from menndl_dask.prediction.inference_process import busy_s, memory, reset_peak
from menndl_dask.problem import Problem
from menndl_dask.program.keras_import import import_frugally
from menndl_dask.training.batches import Chunk

_FEWEST_STEPS, _MOST_STEPS = 3, 50  # of a training


class ProfileRequest(NamedTuple):
    """What is to be measured: genome and problem as plain values, precision, batches, seconds a measurement."""

    genome: Mapping[str, Any]
    problem: Mapping[str, Any]
    precision: str
    batch_sizes: tuple[int, ...]
    seconds: float
    folders: tuple[str, ...] = ()  # import path of the parent, for code of the user's own


def answer(fields: tuple[Any, ...]) -> dict[str, Any]:
    """Return what was measured, see `menndl_dask.performance.profile.Profile`; for the fields of a request."""
    request = ProfileRequest(*fields)
    sys.path.extend(path for path in request.folders if path not in sys.path)
    import_frugally("keras")
    own_code.allow([own_code.ALL])  # the driver has looked at what it asks for
    from menndl_dask.performance import device
    from menndl_dask.training.backend import configure

    configure(0, deterministic=False)
    since, own, began = psutil.cpu_times(), time.process_time(), time.monotonic()
    peak = device.peak(request.precision, request.seconds)
    measured = _Network(request)
    base = reset_peak()
    batches = [measured.batch(batch_size, base) for batch_size in request.batch_sizes]
    layers = measured.layers([each["batch"] for each in batches if "failure" not in each])
    taken = (time.monotonic() - began) * (psutil.cpu_count() or 1)
    busy = (busy_s() - busy_s(since) - (time.process_time() - own)) / taken
    return {
        "device": device.name(), "precision": request.precision, "peak": peak, "batches": batches, **layers,
        "busy_share": min(1.0, max(0.0, busy)),
    }  # fmt: skip


class _Network:
    """The network of a request, with random weights and random images."""

    def __init__(self, request: ProfileRequest) -> None:
        from menndl_dask.genome.keras_model.decoder import decode

        self._genome = Genome.from_dict(request.genome).canonical()
        self._problem, self._precision = Problem.from_dict(request.problem), request.precision
        self._seconds = request.seconds
        self._model = decode(self._genome, self._problem, 0, self._precision)

    def batch(self, size: int, base: float | None) -> dict[str, Any]:
        """Return seconds and peak memory (bytes) of a prediction and of a training step; ``failure`` if one fails."""
        from menndl_dask.performance import device

        found: dict[str, Any] = {"batch": size}
        try:
            views = [_images((size, *shape)) for shape in self._problem.facts.input_shapes]
            found["inference_s"] = device.median_s(device.predicting(self._model, views), self._seconds)
            found["inference_bytes"] = _peak(base)
            found["training_s"] = self._step_s(size)
            found["training_bytes"] = _peak(base)
        except Exception as error:  # noqa: BLE001 - out of memory has another class on each backend
            found["failure"] = one_line(error)
        return found

    def _step_s(self, size: int) -> float:
        """Return the seconds of a training step, in the loop that searches train with."""
        from menndl_dask.training.loop import make_loop
        from menndl_dask.training.loss import Loss
        from menndl_dask.training.optimizer import make_optimizer

        budget = self._problem.budget
        optimizer = make_optimizer(budget.optimizer, budget.learning_rate, budget.weight_decay, self._precision)
        source = _Made(self._problem, size)
        loop = make_loop(self._model, Loss(self._problem), optimizer, source, size, math.inf, is_timed=False)
        loop.run(source.order(0), math.inf)  # compiles
        steps = _FEWEST_STEPS
        while True:
            began = time.perf_counter()
            loop.run(np.tile(source.order(0), steps), math.inf)
            taken = time.perf_counter() - began
            if taken > self._seconds / 2 or steps >= _MOST_STEPS:
                return taken / steps
            steps = min(_MOST_STEPS, math.ceil(steps * max(2.0, self._seconds / taken)))

    def layers(self, batches: Sequence[int]) -> dict[str, Any]:
        """Return the seconds of the forward pass of each layer alone, and of the head, for the largest batch."""
        from menndl_dask.performance import device

        if not batches:
            return {"layer_batch": 0, "layers_s": []}
        size, taken = batches[-1], []
        for model, shapes in self._parts():
            views = [_images((size, *shape)) for shape in shapes]
            taken.append(0.0 if model is None else device.median_s(device.predicting(model, views), self._seconds))
        return {"layer_batch": size, "layers_s": taken}

    def _parts(self) -> Iterator[tuple[Any, list[tuple[int, ...]]]]:
        """Yield each layer and the head as a model (None if it computes nothing), and the shapes that it reads."""
        import keras

        from menndl_dask.genome.keras_model.decoder import computing_in, head, joined

        views, found = self._problem.facts.input_shapes, list[tuple[int, ...]]()
        for layer, sources, _, after in walk(self._genome, views):
            shapes = [found[s] if s >= 0 else views[-1 - s] for s in sources]
            inputs = [keras.Input(shape) for shape in shapes]
            with computing_in(self._precision):
                given = joined(layer, inputs)
                built = layer.build(given, "layer", lambda: 0)
            yield None if built is inputs[0] else _model(inputs, built), shapes
            found.append(after)
        last = found[-1] if found else views[0]
        image = keras.Input(last)
        yield _model([image], head(image, self._problem, lambda: 0)), [last]


def _model(inputs: list[Any], output: Any) -> Any:
    import keras

    return keras.Model(inputs if len(inputs) > 1 else inputs[0], output)


class _Made:
    """A batch of random samples to train on; see `menndl_dask.training.batches.Source`."""

    def __init__(self, problem: Problem, size: int) -> None:
        facts, rng = problem.facts, np.random.default_rng(0)
        self._images = [_images((size, *shape)) for shape in facts.input_shapes]
        spatial = facts.input_shapes[0][:-1] if problem.by_pixel else ()
        if problem.task == "regression":
            self._labels = rng.normal(size=(size, *(spatial or (facts.outputs,)))).astype("float32")
        else:
            self._labels = rng.integers(0, facts.outputs, (size, *spatial)).astype("int32")

    def __len__(self) -> int:
        return len(self._labels)

    def order(self, epoch: int) -> NDArray[Any]:
        return np.arange(len(self))

    def read(self, numbers: NDArray[Any]) -> Chunk:
        places = np.asarray(numbers, int)
        return Chunk([view[places] for view in self._images], self._labels[places], np.arange(len(places)))

    def labels(self, most: int) -> NDArray[Any]:
        return self._labels[: max(1, most)]

    def chunk_size(self, batch_size: int, memory_bytes: float) -> int | None:
        return None


def _images(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def _peak(base: float | None) -> float | None:
    """Return the peak memory on the GPU, else that of this process beyond `base`, bytes; None where it is not told."""
    from menndl_dask.performance import device

    on_device = device.device_memory()
    return on_device if on_device is not None else None if base is None else max(0.0, memory("VmHWM:") - base)


if __name__ == "__main__":
    serve(connect_to_parent(), answer)
