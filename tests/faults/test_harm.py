"""Networks that do harm: to their workers, to the disk, and to the machine by what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.faults.checker import check, events
from tests.faults.scene import Scene


def results(scene: Scene) -> dict[int, dict[str, Any]]:
    told = (event for event in events((scene.run / "journal.jsonl").read_bytes()) if event["event"] == "told")
    return {event["id"]: event["result"] for event in told}


def test_networks_that_kill_their_worker_each_time_are_recorded_as_such_and_do_not_take_the_crew(
    tmp_path: Path,
) -> None:
    poison = {5, 17}
    settings = {"harm": "kill", "harmed": sorted(poison)}
    with Scene(tmp_path, evaluations=40, seconds=0.1, settings=settings) as scene:
        scene.start_driver()
        assert scene.wait_for_end() == 0
        assert check(scene.run, 40).is_clean
        failed = {number for number, result in results(scene).items() if result.get("failure") == "worker_lost"}
        assert failed == poison, json.dumps(results(scene))
        assert len({mark.process for mark in scene.marks()[-20:]}) == 2  # to the end, the whole crew was there


def test_floods_of_messages_end_with_the_run_and_fill_no_disk(tmp_path: Path) -> None:
    with Scene(tmp_path, evaluations=20, seconds=0.05, settings={"harm": "flood", "harmed": [3, 9]}) as scene:
        scene.start_driver()
        assert scene.wait_for_end() == 0
        assert check(scene.run, 20).is_clean
