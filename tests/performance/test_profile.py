"""A profile: measured alone in a child process, with figures that agree with the cost from the genome."""

from __future__ import annotations

import pytest

from menndl_dask.errors import InfeasibleError, UserError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Convolution, Pooling
from menndl_dask.performance.profile import Profile, profile
from tests.problems import problem

GENOME = Genome((Convolution(8, normalisation="batch"), Convolution(8), Pooling(inputs=(1, 2), join="add")))


@pytest.fixture(scope="module")
def measured() -> Profile:
    return profile(GENOME, problem(), (4, 1, 4), seconds=0.01)


def test_layers_and_batches_are_measured_beside_what_the_device_reaches(measured: Profile) -> None:
    cost = cost_of(GENOME, problem())
    assert [each.batch for each in measured.batches] == [1, 4]
    assert measured.layer_batch == 4
    assert [layer.title for layer in measured.layers] == ["Convolution", "Convolution", "Pooling", "Head"]
    assert sum(layer.flops for layer in measured.layers) == cost.flops_forward
    assert sum(layer.parameters for layer in measured.layers) == cost.parameters
    assert all(layer.seconds > 0 for layer in measured.layers)
    assert measured.peak == max(measured.product, measured.convolution) > 1e6
    assert measured.bandwidth > 1e6 and measured.call_s > 0 and 0 <= measured.busy_share <= 1
    assert measured.device.endswith("cpu") and measured.precision == "float32"


def test_rates_are_flops_of_the_genome_for_each_second(measured: Profile) -> None:
    cost, batch = measured.cost, measured.batches[1]
    assert batch.inference_s and batch.training_s
    assert measured.inference_rate(batch) == 4 * cost.flops_forward / batch.inference_s
    assert measured.training_rate(batch) == 4 * cost.flops_training / batch.training_s
    found = measured.to_dict()
    assert found["batches"][1]["training_flops_per_s"] == measured.training_rate(batch)
    assert found["layers"][0]["title"] == "Convolution"


@pytest.mark.parametrize(
    ("batches", "seconds", "message"),
    [
        ((), 0.1, r"batch sizes: expected one or more integers of at least 1, got \[\]"),
        ((0,), 0.1, r"batch sizes: .* got \[0\]"),
        ((1,), 0.0, "seconds: expected more than 0 and at most 60, got 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(batches: tuple[int, ...], seconds: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        profile(GENOME, problem(), batches, seconds=seconds)


def test_a_network_that_cannot_be_built_is_refused_before_a_process_starts() -> None:
    with pytest.raises(InfeasibleError, match="expected a window that fits"):
        profile(Genome((Convolution(4, (17,), padding="valid"),)), problem())
