"""A slow machine: workers that take longer to start than Dask waits for lost ones."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults.checker import State, check
from tests.faults.scene import LONG, Scene, send

START_S, LOST_S = (60.0, 30.0) if LONG else (4.0, 1.0)

# read by each Python as it starts; sleeps in worker processes
SLOW = f"""
import sys, time
if any("spawn_main" in word for word in sys.orig_argv):
    time.sleep({START_S})
"""


@pytest.mark.long
def test_workers_that_start_slowly_come_back_after_each_kill(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    environment = {"PYTHONPATH": str(tmp_path)}
    settings = {"lost_worker_s": LOST_S}
    with Scene(tmp_path, evaluations=40, settings=settings, environment=environment) as scene:
        scene.start_driver()
        scene.wait_for_crew(0.0)
        state, killed = State.of(scene.run), time.monotonic()
        for pid in scene.worker_processes():
            send(pid, signal.SIGKILL)
        assert scene.wait_for_crew(killed) > START_S
        assert scene.wait_for_end() == 0
        assert scene.wait_until_alone() == []
        assert check(scene.run, 40, [state], scene.marks()).is_clean
