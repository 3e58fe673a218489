"""The benchmark of shares of a device's peak: its table, around measurements that are made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks import device_share
from menndl_dask.performance.profile import BatchProfile, Profile
from tests.performance.profiles import BUSY, PROFILE


def test_the_table_has_a_row_for_each_network_and_precision_and_quartiles(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def made_up(genome: Any, problem: Any, batches: Any, precision: str, seconds: float) -> Profile:
        asked.append((problem.task, precision))
        return BUSY if len(asked) == 1 else PROFILE

    monkeypatch.setattr(device_share, "profile", made_up)
    assert device_share.main(["--networks", "3", "--pixels", "24"]) == 0
    assert [task for task, _ in asked[::2]] == ["classification", "segmentation", "classification"]
    assert [precision for _, precision in asked] == ["float32", "bfloat16"] * 3
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith("| ") and "train" not in line]
    assert len(rows) == 1 + 6 and rows[1].endswith("(busy) |")
    share = PROFILE.cost.flops_training / 4e-3 / 80e9  # a step of one sample in 4 ms, of 80 GFLOP/s
    assert f"float32: of the measured peak, quartiles of 3 networks: {share:.1%} / {share:.1%}" in printed


def test_a_network_that_fits_in_no_batch_is_in_the_table_and_in_no_quartile() -> None:
    found = replace(PROFILE, batches=(BatchProfile(32, failure="out of memory"),))
    assert device_share._best(found) is None
    assert device_share._row("1", found).endswith("| out of memory |")
