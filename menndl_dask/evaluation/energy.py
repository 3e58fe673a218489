"""The energy of an evaluation, from counters of its GPU and of the processors of its node. Runs in the trainer.

* NVIDIA: ``nvmlDeviceGetTotalEnergyConsumption`` of NVML, millijoules since the driver was loaded; from Volta on.
* AMD: ``rsmi_dev_energy_count_get`` of ROCm SMI, a count and its resolution in microjoules.
* Processors: ``energy_uj`` of RAPL, microjoules of each package and of its memory, below ``/sys/class/powercap``. On
  many systems only root may read it.

Neither library touches the device as a framework does, so that the trainer can still be forked: PyTorch looks for GPUs
with NVML for that reason. A counter that cannot be read, or stands still, is left out; it is never estimated.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from menndl_dask.environment import GPU_SHARE, GPU_VARIABLES

GPU, CPU = "gpu_joules", "cpu_joules"
POWERCAP = Path("/sys/class/powercap")
_NVML = ("libnvidia-ml.so.1",)
_ROCM = ("librocm_smi64.so", "librocm_smi64.so.7", "librocm_smi64.so.6", "librocm_smi64.so.5")
_SAMPLE_S = 10.0  # a counter of RAPL that holds 262 kJ begins anew after some minutes


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter of energy that only grows.

    Parameters
    ----------
    kind
        `GPU` or `CPU`.
    read
        Returns joules; raises `OSError` if it cannot be read.
    range
        Joules after which it begins at 0 again; 0 if it never does.
    share
        Part of it that counts for an evaluation.
    """

    kind: str
    read: Callable[[], float]
    range: float = 0.0
    share: float = 1.0


class Meter:
    """Sums up what counters say, from now on."""

    def __init__(self, counters: Iterable[Counter]) -> None:
        self._last: dict[Counter, float] = {}
        self._joules: dict[Counter, float] = {}
        self._failed: set[str] = set()  # kinds of which one counter cannot be read: a sum without it would be wrong
        self._at = time.monotonic()
        for counter in counters:
            self._read(counter)

    def sample(self, now: float) -> None:
        """Read the counters if it is time to; `now` is the monotonic clock in seconds."""
        if now - self._at >= _SAMPLE_S:
            self._at = now
            for counter in list(self._last):
                self._read(counter)

    def costs(self) -> dict[str, float]:
        """Return the joules since the beginning by kind of counter, without what cannot be read."""
        self.sample(self._at + _SAMPLE_S)
        sums: dict[str, float] = {}
        for counter, joules in self._joules.items():
            if counter.kind not in self._failed and joules > 0:
                sums[counter.kind] = sums.get(counter.kind, 0.0) + counter.share * joules
        return sums

    def _read(self, counter: Counter) -> None:
        try:
            value = counter.read()
        except (OSError, ValueError):
            self._failed.add(counter.kind)
            return
        gained = value - self._last.get(counter, value)
        self._joules[counter] = self._joules.get(counter, 0.0) + (gained + counter.range if gained < 0 else gained)
        self._last[counter] = value


def find_counters(
    environment: Mapping[str, str] = os.environ,
    load: Callable[[str], Any] = ctypes.CDLL,
    powercap: Path = POWERCAP,
) -> list[Counter]:
    """Return the counters that can be read here: of the first visible GPU, where trainings compute, and of RAPL."""
    share = float(environment.get(GPU_SHARE) or 1.0)
    found: list[Counter] = []
    for vendor, names, open_device in (("nvidia", _NVML, _nvidia), ("amd", _ROCM, _amd)):
        device = environment.get(GPU_VARIABLES[vendor], "0").split(",")[0].strip()
        library = _loaded(names, load) if device not in ("", "-1") else None
        if library is not None:
            with suppress(OSError, ValueError, AttributeError):
                read = open_device(library, device)
                read()
                found.append(Counter(GPU, read, share=share))
    return [*found, *_rapl(powercap)]


def _loaded(names: Iterable[str], load: Callable[[str], Any]) -> Any:
    """Return the first library that is installed, or None."""
    for name in names:
        with suppress(OSError):
            return load(name)
    return None


def _nvidia(library: Any, device: str) -> Callable[[], float]:
    """Return what reads the counter of an NVIDIA GPU, named by its index or UUID; raises `OSError`."""
    _check(library.nvmlInit_v2())
    handle = ctypes.c_void_p()
    if device.isdecimal():
        _check(library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(device)), ctypes.byref(handle)))
    else:
        _check(library.nvmlDeviceGetHandleByUUID(ctypes.c_char_p(device.encode()), ctypes.byref(handle)))

    def read() -> float:
        millijoules = ctypes.c_ulonglong()
        _check(library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)))
        return millijoules.value * 1e-3

    return read


def _amd(library: Any, device: str) -> Callable[[], float]:
    """Return what reads the counter of an AMD GPU, named by its index; raises `OSError`, `ValueError`."""
    index = ctypes.c_uint32(int(device))
    _check(library.rsmi_init(ctypes.c_uint64(0)))

    def read() -> float:
        count, resolution, at = ctypes.c_uint64(), ctypes.c_float(), ctypes.c_uint64()
        references = ctypes.byref(count), ctypes.byref(resolution), ctypes.byref(at)
        _check(library.rsmi_dev_energy_count_get(index, *references))
        return count.value * resolution.value * 1e-6

    return read


def _check(status: int) -> None:
    if status != 0:
        raise OSError(f"status {status}")


def _rapl(powercap: Path) -> Iterator[Counter]:
    """Yield the counters of packages and of their memory; other zones are parts of these, or contain them."""
    for zone in sorted(powercap.glob("intel-rapl:*")):  # of AMD's processors, too
        with suppress(OSError, ValueError):
            if (zone / "name").read_text().strip().startswith(("package", "dram")):
                read = _reader(zone / "energy_uj")
                read()
                yield Counter(CPU, read, range=float((zone / "max_energy_range_uj").read_text()) * 1e-6)


def _reader(path: Path) -> Callable[[], float]:
    return lambda: float(path.read_text()) * 1e-6
