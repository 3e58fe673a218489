"""The benchmark of the simulator runs and simulates the same search, on a budget that says nothing."""

from __future__ import annotations

from benchmarks.simulated_workers import compare, row


def test_the_same_search_is_run_and_simulated() -> None:
    found = compare(2, 0.2, 3, 0.5, sample=4)
    assert found.real.evaluations == found.simulated.evaluations == 6
    assert 0 < found.real.overall <= 1
    assert 0 < found.simulated.overall <= 1
    assert abs(found.simulated.busy_s - found.real.busy_s) < 1e-6
    assert row(0.2, found).startswith("| 2 | 0.2 | 6 | ")
