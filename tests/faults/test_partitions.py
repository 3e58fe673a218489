"""Partitions: the network between a scheduler and its workers or its driver is cut for a while.

Workers that were cut off for longer than half a minute end themselves; others are started for them.

The two sides are in network namespaces of their own, joined by a pair of virtual interfaces of which one is set down.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.checker import State, check
from tests.faults.scene import LONG, Scene

CUT_S = 45.0 if LONG else 3.0
HERE, THERE = "10.213.97.1", "10.213.97.2"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def sides() -> Iterator[tuple[str, str]]:
    """Two network namespaces that see each other; the cut is made in the first."""
    here, there = f"mf{os.getpid()}a", f"mf{os.getpid()}b"
    try:
        for side in (here, there):
            ip("netns", "add", side)
            ip("-n", side, "link", "set", "lo", "up")
        ip("-n", here, "link", "add", "cut", "type", "veth", "peer", "name", "cut", "netns", there)
        for side, address in ((here, HERE), (there, THERE)):
            ip("-n", side, "address", "add", f"{address}/24", "dev", "cut")
            ip("-n", side, "link", "set", "cut", "up")
        yield here, there
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces cannot be made here: {getattr(error, 'stderr', error)}")
    finally:
        for side in (here, there):
            subprocess.run(["ip", "netns", "del", side], capture_output=True)


@pytest.mark.parametrize("cut_off", ["worker", pytest.param("driver", marks=pytest.mark.long)])
def test_a_search_goes_on_or_ends_in_a_line_after_a_partition(
    cut_off: str, sides: tuple[str, str], tmp_path: Path
) -> None:
    here, there = sides
    prefix = {
        name: ["ip", "netns", "exec", there if name == cut_off else here] for name in ("scheduler", "worker", "driver")
    }
    evaluations = 40
    with Scene(tmp_path, evaluations=evaluations, is_local=False, prefix=prefix) as scene:
        scene.scheduler_host = HERE
        scene.start_all()
        scene.wait_for_crew(0.0)
        state = State.of(scene.run)
        ip("-n", here, "link", "set", "cut", "down")
        time.sleep(CUT_S)
        ip("-n", here, "link", "set", "cut", "up")
        scene.replace_ended_workers(CUT_S)
        if scene.wait_for_end():
            assert "the same command carries on" in scene.said()
            scene.start_driver()
            assert scene.wait_for_end() == 0
        assert check(scene.run, evaluations, [state], scene.marks()).is_clean
