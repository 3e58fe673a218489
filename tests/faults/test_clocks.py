"""Clocks that step: the machine's time is set while a search runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.checker import State, check
from tests.faults.scene import Scene

DAY_S = 86_400


@pytest.mark.long
def test_steps_of_the_clock_lose_no_worker_no_result_and_no_time(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    with Scene(tmp_path, evaluations=60, settings={"clock": str(clock)}) as scene:
        scene.start_driver()
        scene.wait_for_crew(0.0)
        states = []
        for step in (DAY_S, -DAY_S, 0):
            states.append(State.of(scene.run))
            clock.write_text(str(step))
            scene.wait_for_results(8)
        assert scene.wait_for_end() == 0
        assert check(scene.run, 60, states, scene.marks()).is_clean
