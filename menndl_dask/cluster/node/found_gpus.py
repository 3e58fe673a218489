"""The GPUs of a machine, as the vendors' tools and the kernel list them. Runs on the driver and on workers.

No framework is loaded for that. NVIDIA's are listed by ``nvidia-smi``, AMD's by the kernel (the same list that ROCm
reads), Intel's by ``xpu-smi``. The order is NVIDIA, AMD, Intel: the first vendor that has a GPU counts, so that the
graphics part of a processor does not hide a card.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from menndl_dask.environment import GPU_VARIABLES
from menndl_dask.text import counted

KFD = Path("/sys/class/kfd/kfd/topology/nodes")  # AMD's GPUs and processors, in ROCm's order
_ANSWER_S = 30
_VENDORS = {"nvidia": "NVIDIA", "amd": "AMD", "intel": "Intel"}
_LEAST_BYTES = 4e9  # the graphics part of a processor has less of its own
# AMD's libraries read these too, and count within what the one before leaves visible
_ALSO_READ = {"amd": ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")}
_NONE = ("", "-1", "none", "void", "NoDevFiles")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, or one tile of an Intel GPU."""

    id: str  # as the variables that select GPUs name it
    name: str = ""
    memory_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class Gpus:
    """GPUs of one vendor."""

    vendor: str
    each: tuple[Gpu, ...]

    @property
    def ids(self) -> list[str]:
        """The names with which the vendor's variable selects them."""
        return [gpu.id for gpu in self.each]

    @property
    def least_bytes(self) -> float | None:
        """Memory of the smallest one; None if it is not known."""
        known = [gpu.memory_bytes for gpu in self.each]
        return None if None in known else min((size for size in known if size is not None), default=None)

    def text(self) -> str:
        """Return how many there are, and which.

        >>> Gpus("nvidia", (Gpu("0", "NVIDIA H200", 150e9), Gpu("1", "NVIDIA H200", 150e9))).text()
        '2 GPUs: NVIDIA H200 (150 GB)'
        """
        kinds = dict.fromkeys(
            f"{gpu.name or _VENDORS[self.vendor]}{f' ({gpu.memory_bytes / 1e9:.0f} GB)' if gpu.memory_bytes else ''}"
            for gpu in self.each
        )
        return f"{counted(len(self.each), 'GPU')}: {', '.join(kinds)}"


def found_gpus(environment: Mapping[str, str] = os.environ) -> Gpus | None:
    """Return the GPUs of this machine that the environment leaves visible; None if there are none."""
    for vendor, find in _FINDERS.items():
        with suppress(OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError):
            if listed := find():
                seen = _seen(listed, vendor, environment)
                return Gpus(vendor, tuple(seen)) if seen else None
    return None


def why_none() -> str:
    """Return what ``nvidia-smi`` says where it is installed and lists no GPU; empty where it is not."""
    if shutil.which("nvidia-smi") is None:
        return ""
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=_ANSWER_S, check=False)
        if said.returncode:
            first = next(iter((said.stdout + said.stderr).strip().splitlines()), "it fails")
            return f"nvidia-smi says: {first.strip()}"
    return ""


def mps_is_running(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether NVIDIA's Multi-Process Service runs here: processes that share a GPU then compute at once."""
    folder = Path(environment.get("CUDA_MPS_PIPE_DIRECTORY") or "/tmp/nvidia-mps")  # NVIDIA's own place
    try:
        return bool(psutil.pid_exists(int((folder / "nvidia-cuda-mps-control.pid").read_text())))
    except (OSError, ValueError):
        return False


def _seen(listed: list[Gpu], vendor: str, environment: Mapping[str, str]) -> list[Gpu]:
    """Return the GPUs that variables leave visible: those that the user or a launcher has chosen."""
    names = (GPU_VARIABLES[vendor], *_ALSO_READ.get(vendor, ()))
    chosen = next((environment[name] for name in names if name in environment), None)
    if chosen is None:
        return listed
    ids = [name.strip() for name in chosen.split(",")]
    if chosen.strip() in _NONE:
        return []
    known = {gpu.id: gpu for gpu in listed}
    alike = listed[0] if len({(gpu.name, gpu.memory_bytes) for gpu in listed}) == 1 else Gpu("")
    # an id of another kind, such as that of a part of a GPU (MIG), says no size
    return [known.get(each) or Gpu(each, alike.name) for each in ids]


def _nvidia() -> list[Gpu]:
    if shutil.which("nvidia-smi") is None:
        return []
    lines = _answer("nvidia-smi", "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits").splitlines()
    found = []
    for line in lines:
        number, name, mebibytes = (word.strip() for word in line.split(","))
        size = float(mebibytes) * 2**20 if mebibytes.replace(".", "").isdigit() else None  # [N/A] where it is shared
        found.append(Gpu(number, name, size))
    return found


def _amd() -> list[Gpu]:
    found: list[Gpu] = []
    for node in sorted(KFD.iterdir(), key=lambda path: int(path.name)) if KFD.is_dir() else []:
        try:
            facts = _facts(node / "properties")
            size = max(_facts(bank / "properties")["size_in_bytes"] for bank in (node / "mem_banks").iterdir())
        except (OSError, ValueError, KeyError):  # a GPU that this process may not use
            continue
        if facts.get("simd_count") and size >= _LEAST_BYTES:
            version = facts.get("gfx_target_version", 0)  # 90010: gfx90a
            chip = f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
            found.append(Gpu(str(len(found)), f"AMD {chip}", float(size)))
    return found


def _intel() -> list[Gpu]:
    """Return the tiles of Intel's GPUs: workers see each tile as a device of its own."""
    if shutil.which("xpu-smi") is None:
        return []
    found: list[Gpu] = []
    for card in json.loads(_answer("xpu-smi", "discovery", "-j"))["device_list"]:
        if card.get("device_type", "GPU") != "GPU":
            continue
        facts = {}
        with suppress(OSError, ValueError, subprocess.SubprocessError):
            facts = json.loads(_answer("xpu-smi", "discovery", "-d", str(card["device_id"]), "-j"))
        tiles = max(1, int(facts.get("number_of_tiles", 1)))
        size = float(str(facts.get("memory_physical_size_byte", 0)).split()[0]) / tiles
        name = str(card["device_name"]).replace("(R)", "")
        found += [Gpu(str(len(found) + tile), name, size or None) for tile in range(tiles)]
    return found


_FINDERS: Mapping[str, Callable[[], list[Gpu]]] = {"nvidia": _nvidia, "amd": _amd, "intel": _intel}


def _answer(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=True).stdout


def _facts(file: Path) -> dict[str, int]:
    return {words[0]: int(words[1]) for line in file.read_text().splitlines() if len(words := line.split()) == 2}
