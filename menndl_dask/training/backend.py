"""The backend of Keras set up for one training: seeds, threads, its share of a GPU. Runs in the training process."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from typing import Any

import keras

from menndl_dask.environment import GPU_SHARE, TRAINING_THREADS, USABLE

# the total memory of the first visible GPU, from the drivers' own libraries: without a context, which takes memory
_DRIVERS = (
    ("libcuda.so.1", "cuInit", "cuDeviceTotalMem_v2"),
    ("libamdhip64.so", "hipInit", "hipDeviceTotalMem"),
)
Load = Callable[[str], Any]


def configure(seed: int, deterministic: bool, gpu_bytes: float | None = None) -> None:
    """Seed the backend, and limit its threads and its GPU memory to what the environment says.

    The number of threads is ``TF_NUM_INTRAOP_THREADS``, else ``OMP_NUM_THREADS`` (which a Dask nanny sets to 1), else
    the number of cores. The seed is that of random numbers in a user's own layers. `gpu_bytes` are those of a GPU's
    memory that it may use, in place of what the environment says.
    """
    keras.utils.set_random_seed(seed)
    if deterministic:
        _make_deterministic()
    granted = os.environ.get(TRAINING_THREADS) or os.environ.get("OMP_NUM_THREADS")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = int(granted) if granted else cores
    share = os.environ.get(GPU_SHARE)
    usable = USABLE * float(share) if share else None
    if gpu_bytes is not None and (total := total_memory()) is not None:
        usable = min(1.0, gpu_bytes / total)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        share_with_tensorflow(tf.config, usable)
    elif keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(threads)
        share_with_torch(torch.cuda, usable)
    elif usable is not None:
        os.environ.update(share_with_jax(usable))


def share_with_tensorflow(config: Any, usable: float | None, load: Load = ctypes.CDLL) -> None:
    """Let TensorFlow allocate GPU memory as it needs it, up to its share; `config` is ``tensorflow.config``."""
    devices = config.list_physical_devices("GPU")
    if not devices:
        # it rewrites graphs for other layouts and devices: no gain here, and it takes half a second a graph
        config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        return
    memory = total_memory(load) if usable is not None else None
    for device in devices:
        if memory is None or usable is None:
            config.experimental.set_memory_growth(device, True)  # leave memory for other processes on the GPU
        else:
            # with a limit, growth can be asked for by this variable alone
            os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
            limited = config.LogicalDeviceConfiguration(memory_limit=int(usable * memory / 2**20))
            config.set_logical_device_configuration(device, [limited])


def share_with_torch(cuda: Any, usable: float | None) -> None:
    """Limit PyTorch to a share of a GPU's memory; `cuda` is ``torch.cuda``."""
    if usable is not None and cuda.is_available():
        cuda.set_per_process_memory_fraction(usable)


def share_with_jax(usable: float) -> Mapping[str, str]:
    """Return the variables with which JAX allocates GPU memory as it needs it, up to a share."""
    return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{usable:.3f}"}


def total_memory(load: Load = ctypes.CDLL) -> int | None:
    """Return the memory of the first GPU that this process sees, in bytes, or None if its driver does not tell."""
    for library, begin, ask in _DRIVERS:
        try:
            driver = load(library)
        except OSError:
            continue
        size = ctypes.c_size_t()
        if getattr(driver, begin)(0) == 0 and getattr(driver, ask)(ctypes.byref(size), 0) == 0:
            return size.value
    return None


def _make_deterministic() -> None:
    """Use only operations that give the same bits each time; to be called before the backend touches a device."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif keras.backend.backend() == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    else:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
