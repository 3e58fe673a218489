"""The environment variables that workers and trainings read. Pure."""

from __future__ import annotations

# times of a batch job in seconds since 1970: its start, when its workers retire, and its end
JOB_START = "MENNDL_JOB_START"
RETIRE_AT = "MENNDL_RETIRE_AT"
JOB_END = "MENNDL_JOB_END"

DEVICES = "MENNDL_DEVICES"  # vendor and GPUs of a worker that trains on several: "amd:0,1,2,3"
GPU_SHARE = "MENNDL_GPU_SHARE"  # the fraction of a GPU's memory that one training may use
TRAINING_THREADS = "TF_NUM_INTRAOP_THREADS"  # number of CPU threads of one training

# which GPUs a process sees, by vendor
GPU_VARIABLES = {"nvidia": "CUDA_VISIBLE_DEVICES", "amd": "ROCR_VISIBLE_DEVICES", "intel": "ZE_AFFINITY_MASK"}
GPU_VENDORS = tuple(GPU_VARIABLES)
