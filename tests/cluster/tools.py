"""Simulated tools of GPU vendors: programs on the path that print what the real ones print."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from menndl_dask.cluster import local_workers
from menndl_dask.cluster.node import found_gpus
from menndl_dask.environment import GPU_VARIABLES

H200 = ("NVIDIA H200", 143771)
OTHERS = ("HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "CUDA_DEVICE_ORDER", "TF_NUM_INTRAOP_THREADS")


class Tools:
    """The tools of a machine without any, to which tests add."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._monkeypatch = folder, monkeypatch
        (folder / "bin").mkdir()
        monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(found_gpus, "KFD", folder / "nodes")
        for name in (*GPU_VARIABLES.values(), *OTHERS):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(folder))
        self.frameworks_see(True)

    def nvidia(self, *gpus: tuple[str, int | str]) -> None:
        """Add ``nvidia-smi`` with GPUs of these names and mebibytes."""
        lines = [f"{number}, {name}, {size}" for number, (name, size) in enumerate(gpus)]
        self.program("nvidia-smi", "\n".join(lines))

    def amd(self, *gpus: tuple[int, int]) -> None:
        """Add the kernel's list with a processor, and GPUs of these versions and bytes."""
        for number, (version, size) in enumerate([(0, 0), *gpus]):
            bank = self._folder / "nodes" / str(number) / "mem_banks" / "0"
            bank.mkdir(parents=True)
            (bank / "properties").write_text(f"heap_type 1\nsize_in_bytes {size or 10**12}\nflags 0\n")
            simds = 440 if version else 0
            (bank.parents[1] / "properties").write_text(
                f"cpu_cores_count 0\nsimd_count {simds}\ngfx_target_version {version}\n"
            )

    def intel(self, name: str, tiles: Sequence[int], size: str) -> None:
        """Add ``xpu-smi`` with cards of this name, one for each number of tiles."""
        cards = [{"device_id": number, "device_name": name, "device_type": "GPU"} for number in range(len(tiles))]
        one = {"number_of_tiles": str(tiles[0]), "memory_physical_size_byte": size}
        script = (
            f"case \"$*\" in *-d*) echo '{json.dumps(one)}';; *) echo '{json.dumps({'device_list': cards})}';; esac"
        )
        self.script("xpu-smi", script)

    def program(self, name: str, printed: str, status: int = 0) -> None:
        """Add a program that prints a text."""
        self.script(name, f"cat <<'END'\n{printed}\nEND\nexit {status}")

    def script(self, name: str, text: str) -> None:
        """Add a program."""
        path = self._folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def frameworks_see(self, answer: bool, why: str = "") -> None:
        """Say what a framework answers when it is asked for GPUs."""
        self._monkeypatch.setattr(local_workers, "_usable", lambda *_: (answer, why))

    def environment(self, values: Mapping[str, str]) -> None:
        """Set variables."""
        for name, value in values.items():
            self._monkeypatch.setenv(name, value)
