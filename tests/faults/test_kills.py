"""Kills without warning: of the driver and its workers, and of schedulers, nannies and workers beside it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults.checker import State, check
from tests.faults.scene import Scene, send


def test_killed_workers_come_back_and_a_killed_driver_carries_on(tmp_path: Path) -> None:
    with Scene(tmp_path, evaluations=10_000) as scene:  # until the workers are back, however long that takes
        scene.start_driver()
        scene.wait_for_crew(0.0)
        states, killed = [State.of(scene.run)], time.monotonic()
        assert [send(pid, signal.SIGKILL) for pid in scene.worker_processes()] == [True, True]
        scene.wait_for_crew(killed)
        states.append(State.of(scene.run))
        scene.driver.kill()
        assert scene.wait_until_alone() == []
        asked = scene.told() + 20
        scene.start_driver(evaluations=asked)
        assert scene.wait_for_end() == 0
        assert scene.wait_until_alone() == []
        assert check(scene.run, asked, states, scene.marks()).is_clean


def test_workers_beside_the_driver_join_leave_and_die_with_and_without_their_nannies(tmp_path: Path) -> None:
    with Scene(tmp_path, evaluations=10_000, is_local=False) as scene:
        scene.start_all()
        scene.wait_for_crew(0.0)
        states = [State.of(scene.run)]
        send(scene.worker_processes()[0], signal.SIGKILL)
        send(scene.nannies[1].pid, signal.SIGKILL)
        scene.start_worker()  # as a batch system would
        scene.wait_for_crew(time.monotonic())
        states.append(State.of(scene.run))
        send(scene.nannies[0].pid, signal.SIGTERM)
        joined = scene.start_worker()
        scene.wait_for_crew(time.monotonic())
        assert joined.poll() is None
        scene.driver.kill()
        scene.driver.wait()
        asked = scene.told() + 20
        scene.start_driver(evaluations=asked)
        assert scene.wait_for_end() == 0
        assert check(scene.run, asked, states, scene.marks()).is_clean


@pytest.mark.long
def test_a_killed_scheduler_ends_the_search_in_a_line_and_the_same_command_carries_on(tmp_path: Path) -> None:
    with Scene(tmp_path, evaluations=40, is_local=False, settings={"answer_s": 3.0}) as scene:
        scene.start_all()
        scene.wait_for_crew(0.0)
        states = [State.of(scene.run)]
        assert scene.scheduler is not None
        scene.scheduler.kill()
        assert scene.wait_for_end() == 2
        assert "lost the scheduler" in scene.said()
        assert "Traceback" not in scene.said()
        states.append(State.of(scene.run))
        scene.end()
        scene.start_all()
        assert scene.wait_for_end() == 0
        assert check(scene.run, 40, states, scene.marks()).is_clean
