"""The text of a profile: units, shares of the peak, and what failed or was disturbed."""

from __future__ import annotations

from menndl_dask.performance.profile_table import profile_text
from tests.performance.profiles import BUSY, PROFILE


def test_the_text_has_the_peak_each_batch_and_each_layer() -> None:
    text = profile_text(PROFILE)
    assert "matrix product 50.0 G FLOP/s, convolution 80.0 G FLOP/s, memory 10.0 G bytes/s" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    # 40,960 FLOPs in 0.1 ms are 410 MFLOP/s, 0.5 % of 80 GFLOP/s
    assert "Convolution 8 · 3 · relu 16×16×8 80 41.0 k 4.4 0.1 25% 410 M 0.5%" in lines
    assert "Pooling 2 · max · stride 2 8×8×8 – 2.05 k 0.2 0.3 75% 6.83 M 0.0%" in lines
    (small,) = [line for line in lines if line.startswith("1 1 1.00 k")]
    assert small.count("MiB") == 2
    assert "busy" not in text


def test_what_failed_or_was_disturbed_is_said() -> None:
    assert "batch 64: ResourceExhaustedError: out of memory" in profile_text(PROFILE)
    assert "the machine was busy: other processes took 60% of its cores" in profile_text(BUSY)
