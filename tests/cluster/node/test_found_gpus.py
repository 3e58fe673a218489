"""The GPUs of a machine, found with simulated tools and a simulated list of the kernel."""

from __future__ import annotations

import pytest

from menndl_dask.cluster.node.found_gpus import found_gpus, why_none
from tests.cluster.tools import H200, Tools


def test_gpus_of_nvidia_are_found_with_their_names_and_memory(tools: Tools) -> None:
    tools.nvidia(H200, ("NVIDIA RTX A4000", 16376))
    found = found_gpus()
    assert found is not None
    assert (found.vendor, found.ids) == ("nvidia", ["0", "1"])
    assert found.text() == "2 GPUs: NVIDIA H200 (151 GB), NVIDIA RTX A4000 (17 GB)"
    assert found.least_bytes == pytest.approx(16376 * 2**20)


def test_gpus_of_amd_are_those_of_the_kernel_in_its_order_without_processors(tools: Tools) -> None:
    # a processor is node 0 there; the last is the graphics part of another
    tools.amd((90010, 64 * 10**9), (90402, 192 * 10**9), (100306, 5 * 10**8))
    found = found_gpus()
    assert found is not None
    assert (found.vendor, found.ids) == ("amd", ["0", "1"])
    assert found.text() == "2 GPUs: AMD gfx90a (64 GB), AMD gfx942 (192 GB)"


def test_each_tile_of_a_gpu_of_intel_is_one(tools: Tools) -> None:
    tools.intel("Intel(R) Data Center GPU Max 1550", (2, 2), str(128 * 10**9))
    found = found_gpus()
    assert found is not None
    assert (found.vendor, found.ids) == ("intel", ["0", "1", "2", "3"])
    assert found.text() == "4 GPUs: Intel Data Center GPU Max 1550 (64 GB)"


@pytest.mark.parametrize(
    ("variable", "value", "ids"),
    [
        ("CUDA_VISIBLE_DEVICES", "1", ["1"]),
        ("CUDA_VISIBLE_DEVICES", "MIG-7, GPU-3", ["MIG-7", "GPU-3"]),
        ("CUDA_VISIBLE_DEVICES", "-1", None),
        ("CUDA_VISIBLE_DEVICES", "", None),
    ],
)
def test_what_the_user_has_set_is_respected(tools: Tools, variable: str, value: str, ids: list[str] | None) -> None:
    tools.nvidia(H200, H200)
    found = found_gpus({variable: value})
    assert (None if found is None else found.ids) == ids
    assert found is None or found.each[0].name == "NVIDIA H200"
    assert ids != ["MIG-7", "GPU-3"] or (found is not None and found.least_bytes is None)


def test_the_variables_that_amd_reads_beside_its_own_are_respected(tools: Tools) -> None:
    tools.amd((90010, 64 * 10**9), (90010, 64 * 10**9))
    for environment in ({"HIP_VISIBLE_DEVICES": "1"}, {"CUDA_VISIBLE_DEVICES": "1"}):
        found = found_gpus(environment)
        assert found is not None
        assert found.ids == ["1"]
    assert found_gpus({"ROCR_VISIBLE_DEVICES": "-1"}) is None


def test_a_machine_without_gpus_or_with_tools_that_fail_has_none(tools: Tools) -> None:
    assert found_gpus({}) is None
    tools.program("nvidia-smi", "NVIDIA-SMI has failed because it could not talk to the driver.\nMake sure …", 9)
    assert found_gpus({}) is None
    assert why_none() == "nvidia-smi says: NVIDIA-SMI has failed because it could not talk to the driver."
    tools.program("nvidia-smi", "garbage")
    tools.program("xpu-smi", "not JSON")
    assert found_gpus({}) is None
    tools.nvidia(("NVIDIA GB10", "[N/A]"))  # memory is shared with the processor
    found = found_gpus({})
    assert found is not None
    assert found.text() == "1 GPU: NVIDIA GB10"
