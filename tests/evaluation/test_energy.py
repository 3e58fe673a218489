"""The energy of an evaluation, from simulated counters."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from menndl_dask.evaluation.energy import CPU, GPU, Counter, Meter, find_counters

NONE = {"CUDA_VISIBLE_DEVICES": "-1", "ROCR_VISIBLE_DEVICES": ""}


class Nvml:
    """NVML with two GPUs: the counter of each grows by 1 J with each look."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.asked: list[Any] = []
        self.millijoules = 5_000_000

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: ctypes.c_uint, handle: Any) -> int:  # noqa: N802
        self.asked.append(index.value)
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: ctypes.c_char_p, handle: Any) -> int:  # noqa: N802
        self.asked.append(uuid.value)
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, value: Any) -> int:  # noqa: N802
        self.millijoules += 1000
        value._obj.value = self.millijoules
        return self.status


class RocmSmi:
    """ROCm SMI, whose counter grows by 2^20 units of 15.3 µJ with each look."""

    count = 0

    def rsmi_init(self, flags: ctypes.c_uint64) -> int:
        return 0

    def rsmi_dev_energy_count_get(self, index: ctypes.c_uint32, count: Any, resolution: Any, at: Any) -> int:
        self.count += 2**20
        count._obj.value, resolution._obj.value = self.count, 15.3
        return 0


def only(name: str, library: Any) -> Any:
    """Return what loads this library, and no other."""

    def load(wanted: str) -> Any:
        if not wanted.startswith(name):
            raise OSError(f"{wanted}: cannot open shared object file")
        return library

    return load


def zone(powercap: Path, number: str, name: str, microjoules: int) -> Path:
    folder = powercap / f"intel-rapl:{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text("262143328850\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder / "energy_uj"


def test_the_counter_of_the_visible_nvidia_gpu_is_read(tmp_path: Path) -> None:
    nvml = Nvml()
    meter = Meter(find_counters({"CUDA_VISIBLE_DEVICES": "3,4"}, only("libnvidia-ml", nvml), tmp_path))
    assert nvml.asked == [3]
    assert meter.costs() == {GPU: pytest.approx(1.0)}
    find_counters({"CUDA_VISIBLE_DEVICES": "GPU-8932f937"}, only("libnvidia-ml", nvml), tmp_path)
    assert nvml.asked == [3, b"GPU-8932f937"]


def test_a_training_that_shares_a_gpu_counts_its_part(tmp_path: Path) -> None:
    shared = {"CUDA_VISIBLE_DEVICES": "0", "MENNDL_GPU_SHARE": "0.25"}
    assert Meter(find_counters(shared, only("libnvidia-ml", Nvml()), tmp_path)).costs() == {GPU: pytest.approx(0.25)}


def test_the_counter_of_an_amd_gpu_is_read_in_its_own_unit(tmp_path: Path) -> None:
    meter = Meter(find_counters({"ROCR_VISIBLE_DEVICES": "1"}, only("librocm_smi64", RocmSmi()), tmp_path))
    assert meter.costs() == {GPU: pytest.approx(2**20 * 15.3e-6)}


def test_gpus_without_a_counter_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    not_supported = 3
    assert find_counters({}, only("libnvidia-ml", Nvml(not_supported)), tmp_path) == []
    assert find_counters({**NONE}, only("libnvidia-ml", Nvml()), tmp_path) == []
    assert find_counters({}, only("no library", None), tmp_path) == []
    assert Meter([]).costs() == {}


def test_the_energy_of_packages_and_their_memory_is_added_and_nothing_twice(tmp_path: Path) -> None:
    package, memory = zone(tmp_path, "0", "package-0", 1_000_000), zone(tmp_path, "0:1", "dram", 500_000)
    core, whole = zone(tmp_path, "0:0", "core", 0), zone(tmp_path, "1", "psys", 0)
    meter = Meter(find_counters(NONE, only("no library", None), tmp_path))
    package.write_text("7000000\n")
    memory.write_text("1500000\n")
    core.write_text("6000000\n")
    whole.write_text("9000000\n")
    assert meter.costs() == {CPU: pytest.approx(7.0)}


def test_a_counter_that_begins_anew_goes_on(tmp_path: Path) -> None:
    package = zone(tmp_path, "0", "package-0", 262_143_000_000)
    meter = Meter(find_counters(NONE, only("no library", None), tmp_path))
    package.write_text("1000000\n")
    assert meter.costs() == {CPU: pytest.approx(0.32885 + 1.0)}


def test_counters_are_read_now_and_then_so_that_no_turn_is_missed() -> None:
    values = iter([0.0, 60.0, 20.0, 80.0])
    meter = Meter([Counter(CPU, lambda: next(values), range=100.0)])
    now = meter._at
    meter.sample(now + 5)  # too early
    meter.sample(now + 11)
    meter.sample(now + 22)
    assert meter.costs() == {CPU: pytest.approx(180.0)}


def test_a_sum_without_a_counter_that_fails_on_the_way_is_no_sum() -> None:
    def gone() -> float:
        values.pop()
        if not values:
            raise OSError("permission denied")
        return 1.0

    values = [1, 2]
    assert Meter([Counter(CPU, gone), Counter(CPU, iter([1.0, 5.0]).__next__)]).costs() == {}


def test_only_root_may_read_rapl_on_many_systems(tmp_path: Path) -> None:
    (zone(tmp_path, "0", "package-0", 1)).unlink()
    assert find_counters(NONE, only("no library", None), tmp_path) == []
