"""Settings for all tests: quiet frameworks that leave the cores to each other."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "2")

# shared machines stall now and then: how long an example takes says nothing
settings.register_profile("menndl", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("menndl")
