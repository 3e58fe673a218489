"""Profile of a network: what its layers, predictions and training steps reach on a device. Runs on the driver.

It is measured alone, in a child process that does nothing else, beside what the device reaches at the same moment.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from menndl_dask.errors import TrainerError, UserError
from menndl_dask.evaluation.child_process import ChildProcess
from menndl_dask.evaluation.inference import BUSY
from menndl_dask.genome.cost import Cost, cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer, Shape
from menndl_dask.problem import Problem
from menndl_dask.report.network_drawing import detail_of

_LONGEST_S = 3600.0  # of a profile


@dataclass(frozen=True, slots=True)
class BatchProfile:
    """What a batch takes: seconds of a prediction and of a training step, and peak memory; None where not measured.

    The memory is that of the GPU, or of the process beyond what it held before on Linux. ``failure`` says why there
    are no figures.
    """

    batch: int
    inference_s: float | None = None
    inference_bytes: float | None = None
    training_s: float | None = None
    training_bytes: float | None = None
    failure: str = ""


class ProfiledLayer(NamedTuple):
    """A layer, or the whole head: what it costs for a sample, and the seconds of its forward pass over a batch."""

    title: str
    detail: str
    shape: Shape
    parameters: int
    flops: float
    intensity: float  # FLOPs for each byte that the forward pass of the batch moves at least
    seconds: float


@dataclass(frozen=True, slots=True)
class Profile:
    """What a network reaches on a device.

    Parameters
    ----------
    cost
        What the network costs by its genome.
    device, precision
        Backend and device, and the numbers that layers compute with.
    product, convolution
        FLOP/s that a matrix product and a convolution reached there, of the size that reached most.
    bandwidth
        Bytes/s that were read and written there.
    call_s
        Seconds of a call that computes next to none.
    batches
        Each batch size.
    layers
        The layers of the canonical genome, and the head, each measured alone.
    layer_batch
        Batch size of the layers.
    busy_share
        Share of all cores that other processes took meanwhile, 0 to 1.
    """

    cost: Cost
    device: str
    precision: str
    product: float
    convolution: float
    bandwidth: float
    call_s: float
    batches: tuple[BatchProfile, ...]
    layers: tuple[ProfiledLayer, ...]
    layer_batch: int
    busy_share: float

    @property
    def peak(self) -> float:
        """FLOP/s that the device was seen to reach: the larger of matrix product and convolution."""
        return max(self.product, self.convolution)

    @property
    def was_busy(self) -> bool:
        """Whether other processes disturbed the measurement."""
        return self.busy_share > BUSY

    def inference_rate(self, batch: BatchProfile) -> float | None:
        """Return the FLOP/s of predictions of a batch; None if they were not measured."""
        return batch.batch * self.cost.flops_forward / batch.inference_s if batch.inference_s else None

    def training_rate(self, batch: BatchProfile) -> float | None:
        """Return the FLOP/s of training steps of a batch; None if they were not measured."""
        return batch.batch * self.cost.flops_training / batch.training_s if batch.training_s else None

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain values, with units in their names."""
        flops = {name: getattr(self.cost, name) for name in ("parameters", "flops_forward", "flops_training")}
        batches = [
            {
                **asdict(each),
                "inference_flops_per_s": self.inference_rate(each),
                "training_flops_per_s": self.training_rate(each),
            }
            for each in self.batches
        ]
        peak = {"product_flops_per_s": self.product, "convolution_flops_per_s": self.convolution}
        return {
            **flops, "device": self.device, "precision": self.precision, **peak, "bytes_per_s": self.bandwidth,
            "call_s": self.call_s, "batches": batches, "layer_batch": self.layer_batch,
            "layers": [each._asdict() for each in self.layers], "busy_share": self.busy_share,
        }  # fmt: skip


def profile(
    genome: Genome,
    problem: Problem,
    batch_sizes: Sequence[int] = (1, 8, 64),
    precision: str | None = None,
    seconds: float = 0.5,
) -> Profile:
    """Build the network of a genome with random weights, and measure it alone in a child process.

    Parameters
    ----------
    genome, problem
        The network, and what it is for.
    batch_sizes
        Batches to predict and to train on. Layers are measured alone with the largest one that fits into memory.
    precision
        ``float32``, ``bfloat16`` or ``float16``; None for that of the problem's budget.
    seconds
        About as long is each measurement repeated.

    Raises
    ------
    UserError
        If a value cannot be, or the network cannot be measured.
    InfeasibleError
        If no network can be built.
    """
    if not batch_sizes or any(size < 1 for size in batch_sizes):
        raise UserError(f"batch sizes: expected one or more integers of at least 1, got {list(batch_sizes)}")
    if not 0 < seconds <= 60:
        raise UserError(f"seconds: expected more than 0 and at most 60, got {seconds:g}")
    cost, precision = cost_of(genome, problem), precision or problem.budget.precision
    sizes = tuple(sorted(set(batch_sizes)))
    request = (genome.to_dict(), problem.to_dict(), precision, sizes, seconds, tuple(sys.path))
    backend = problem.budget.backend
    child = ChildProcess("menndl_dask.performance.profile_process", {"KERAS_BACKEND": backend} if backend else None)
    try:
        found = child.ask(request, _LONGEST_S)
    except TrainerError as error:
        raise UserError(f"profile: the network cannot be measured: {error}") from error
    finally:
        child.close()
    return _profile(genome, cost, found)


def _profile(genome: Genome, cost: Cost, found: Mapping[str, Any]) -> Profile:
    genes = genome.canonical().layers
    batch, width = found["layer_batch"], 4 if found["precision"] == "float32" else 2
    layers = []
    for i, taken in enumerate(found["layers_s"]):
        costs = cost.layers[i : i + 1] if i < len(genes) else cost.layers[len(genes) :]
        moved = sum(each.moved_bytes(batch, width) for each in costs)
        flops = sum(each.flops_forward for each in costs)
        title, detail = _words(genes[i]) if i < len(genes) else ("Head", "")
        parameters = sum(each.parameters for each in costs)
        layers.append(ProfiledLayer(title, detail, costs[-1].shape, parameters, flops, batch * flops / moved, taken))
    peak = found["peak"]
    return Profile(
        cost, found["device"], found["precision"], peak["product"], peak["convolution"], peak["bandwidth"],
        peak["call_s"], tuple(BatchProfile(**each) for each in found["batches"]), tuple(layers), batch,
        found["busy_share"],
    )  # fmt: skip


def _words(layer: Layer) -> tuple[str, str]:
    title = "Join" if len(layer.inputs) > 1 and layer.is_identity else layer.drawn_title or type(layer).__name__
    return title, "" if layer.is_identity else detail_of(layer)
