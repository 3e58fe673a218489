"""Stops and continues: processes that a busy machine, a debugger or a laptop's lid holds for a while."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults.checker import State, check
from tests.faults.scene import LONG, Scene, send

HELD_S = 45.0 if LONG else 2.0


@pytest.mark.long
@pytest.mark.parametrize("is_local", [True, False], ids=["own workers", "workers beside the driver"])
def test_whatever_is_held_goes_on_afterwards(is_local: bool, tmp_path: Path) -> None:
    evaluations = 40 if not LONG else 400
    with Scene(tmp_path, evaluations=evaluations, is_local=is_local) as scene:
        scene.start_all()
        scene.wait_for_crew(0.0)
        states = []
        for held in ("worker_processes", "driver", "scheduler", "nannies"):
            pids = _numbers(scene, held)
            states.append(State.of(scene.run))
            for pid in pids:
                send(pid, signal.SIGSTOP)
            time.sleep(HELD_S if pids else 0.0)
            for pid in pids:
                send(pid, signal.SIGCONT)
            if scene.driver.poll() is None and scene.told() < evaluations - 10:
                scene.wait_for_crew(time.monotonic())
        assert scene.wait_for_end() == 0
        assert check(scene.run, evaluations, states, scene.marks()).is_clean


def _numbers(scene: Scene, held: str) -> list[int]:
    found = getattr(scene, held)
    if callable(found):
        found = found()[:1]
    found = found if isinstance(found, list) else [found]
    return [getattr(one, "pid", one) for one in found if one is not None]
