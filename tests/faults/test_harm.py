"""Networks that do harm: to their workers, to the disk, and to the machine by what they leave behind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import check, events
from tests.faults.scene import PATIENCE_S, Scene


def results(scene: Scene) -> dict[int, dict[str, Any]]:
    told = (event for event in events((scene.run / "journal.jsonl").read_bytes()) if event["event"] == "told")
    return {event["id"]: event["result"] for event in told}


@pytest.mark.long
def test_a_network_that_kills_its_worker_each_time_is_recorded_as_such_and_does_not_take_the_crew(
    tmp_path: Path,
) -> None:
    settings = {"harm": "kill", "harmed": [5]}
    with Scene(tmp_path, evaluations=10_000, seconds=0.1, settings=settings) as scene:
        scene.start_driver()
        scene.wait_for_results(1)
        scene.wait(lambda: 5 in results(scene), 2 * PATIENCE_S, "the network had a result")
        scene.wait_for_crew(time.monotonic())
        scene.driver.terminate()
        assert scene.wait_for_end() == 130
        assert scene.wait_until_alone() == []
        assert results(scene)[5]["failure"] == "worker_lost"
        verdict = check(scene.run, 6)
        assert not (verdict.lost or verdict.duplicated), verdict


@pytest.mark.long
def test_floods_of_messages_end_with_the_run_and_fill_no_disk(tmp_path: Path) -> None:
    with Scene(tmp_path, evaluations=20, seconds=0.05, settings={"harm": "flood", "harmed": [3, 9]}) as scene:
        scene.start_driver()
        assert scene.wait_for_end() == 0
        assert check(scene.run, 20).is_clean
