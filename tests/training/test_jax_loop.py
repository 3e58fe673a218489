"""The loop for JAX takes the steps that Keras itself takes. In a process of its own: a process has one backend."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

STEPS = """
import json, math, time
from dataclasses import replace
import keras, numpy as np
from menndl_dask.data.staged_samples import Samples
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.layers import Convolution, Dropout
from menndl_dask.training.augmentation import Augmentation
from menndl_dask.training.batches import WholeSamples
from menndl_dask.training.jax_loop import ScanLoop
from menndl_dask.training.loop import BatchLoop
from menndl_dask.training.loss import Loss
from menndl_dask.training.optimizer import make_optimizer
from tests.problems import PROBLEMS

of = replace(PROBLEMS["tiny images"], augmentation=("flip", "noise=0.1"))
genome = Genome((Convolution(2, normalisation="batch"), Dropout(0.5)))
# Keras takes the samples of a batch in their order in the split
orders = [np.concatenate([np.sort(part) for part in np.split(np.random.default_rng(n).permutation(22), (8, 16))])
          for n in range(3)]
orders[2] = orders[2][:16]

def made(kind, count, **more):
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(count, 4, 4, 1)).astype("float32"), rng.integers(0, 3, count).astype("uint8")
    # with a loss that is scaled, as for float16
    model, optimizer = decode(genome, of, 3), make_optimizer("adam", 1e-2, 0.0, "float16")
    source = WholeSamples(Samples((images,), labels), seed=0)
    return kind(model, Loss(of), optimizer, source, 8, Augmentation(of, 5), **more), optimizer, images

def trained(kind, **more):
    loop, optimizer, images = made(kind, 22, **more)
    losses = np.concatenate([loop.run(order, math.inf) for order in orders])
    moments = float(sum(np.abs(np.asarray(v)).sum() for v in optimizer.inner_optimizer.variables))
    return {"losses": losses.tolist(), "moments": moments, "predicted": loop.predict([images]).tolist()}

told = {"keras": trained(BatchLoop), "ours": trained(ScanLoop, chunk=16)}
loop, optimizer, _ = made(ScanLoop, 16)
told["no time"] = loop.run(np.arange(16), time.monotonic()).tolist()
optimizer.learning_rate = math.nan
told["diverging"] = loop.run(np.arange(16), math.inf).tolist()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """Return the losses and predictions of each loop."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed: pip install menndl_dask[jax]")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", STEPS], env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_the_steps_are_those_that_keras_takes_also_in_chunks_of_samples(told: dict[str, Any]) -> None:
    theirs, ours = told["keras"], told["ours"]
    assert len(ours["losses"]) == 8  # two epochs of 8, 8 and 6 samples, and one of 16
    assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-4)
    assert ours["moments"] == pytest.approx(theirs["moments"], rel=1e-4)
    np.testing.assert_allclose(ours["predicted"], theirs["predicted"], atol=1e-4)


def test_it_ends_at_a_deadline_after_the_first_step_and_when_it_diverges(told: dict[str, Any]) -> None:
    assert len(told["no time"]) == 1
    assert len(told["diverging"]) == 2  # the weights are no numbers after the first step
    assert not np.isfinite(told["diverging"][-1])
