"""The environment variables that workers and trainings read. Pure."""

from __future__ import annotations

import os
from importlib.util import find_spec

# times of a batch job in seconds since 1970: its start, when its workers retire, and its end
JOB_START = "MENNDL_JOB_START"
RETIRE_AT = "MENNDL_RETIRE_AT"
JOB_END = "MENNDL_JOB_END"

DEVICES = "MENNDL_DEVICES"  # vendor and GPUs of a worker that trains on several: "amd:0,1,2,3"
GPU_SHARE = "MENNDL_GPU_SHARE"  # the fraction of a GPU's memory that one training may use
MEMORY = "MEMORY"  # resource of a Dask worker: bytes that one training may use there
USABLE = 0.9  # of a GPU's memory, or of a share of it; the rest is for contexts, which no framework counts
TRAINING_THREADS = "TF_NUM_INTRAOP_THREADS"  # number of CPU threads of one training

# which GPUs a process sees, by vendor
GPU_VARIABLES = {"nvidia": "CUDA_VISIBLE_DEVICES", "amd": "ROCR_VISIBLE_DEVICES", "intel": "ZE_AFFINITY_MASK"}
GPU_VENDORS = tuple(GPU_VARIABLES)


def choose_backend() -> None:
    """Let Keras use JAX or PyTorch where TensorFlow is not installed and the environment names no backend.

    The variable is set for this process and those that it starts. Keras itself would look for TensorFlow.
    """
    if "KERAS_BACKEND" in os.environ or find_spec("tensorflow") is not None:
        return
    if (installed := next((name for name in ("jax", "torch") if find_spec(name) is not None), None)) is not None:
        os.environ["KERAS_BACKEND"] = installed
