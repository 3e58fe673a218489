"""Storage: a full disk, a run or a journal that vanishes, a lock that someone removes, two drivers.

The drivers use the same workers one after the other; their journals are what is attacked.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.checker import State, check
from tests.faults.scene import Scene

NOTICED_AFTER = 20  # results at most that a driver still brings home


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Start a scheduler and workers for all drivers of this file."""
    with Scene(tmp_path_factory.mktemp("crew"), evaluations=0, is_local=False) as started:
        started.start_crew()
        yield started


@contextmanager
def mounted(*words: str) -> Iterator[Path]:
    """Mount something, ``mount WORDS``, whose last word is a folder; skip where that is not allowed."""
    folder = Path(words[-1])
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *words], capture_output=True, text=True) if os.geteuid() == 0 else None
    if done is None or done.returncode:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr if done else 'not root'}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def ends_in_a_line(scene: Scene) -> None:
    """Wait for a driver that notices what happened, long before it has evaluated all networks."""
    begun = {mark.id for mark in scene.marks()}
    assert scene.wait_for_end() == 2, scene.last_words()
    assert len({mark.id for mark in scene.marks()} - begun) <= NOTICED_AFTER
    last = scene.said().strip().splitlines()[-1]
    assert "Traceback" not in scene.said()
    assert str(scene.run) in last, last


def carries_on(scene: Scene, states: list[State], evaluations: int) -> None:
    """Run the same command again to the end of a small budget, and check what came of it."""
    scene.start_driver(evaluations=evaluations)
    assert scene.wait_for_end() == 0, scene.last_words()
    verdict = check(scene.run, evaluations, states, scene.marks())
    assert verdict.is_clean, verdict


def fill(disk: Path) -> Path:
    """Fill a disk to the last block."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def test_a_full_disk_ends_the_search_in_a_line_and_with_room_the_same_command_carries_on(
    crew: Scene, tmp_path: Path
) -> None:
    with (
        mounted("-t", "tmpfs", "-o", "size=512k", "none", str(tmp_path / "disk")) as disk,
        Scene(tmp_path / "scene", evaluations=10_000, seconds=0.05, beside=crew) as scene,
    ):
        scene.run = disk / "run"
        scene.start_driver()
        scene.wait_for_results(5)
        ballast = fill(disk)
        assert scene.wait_for_end() == 2
        assert "No space left" in scene.said()
        assert "Traceback" not in scene.said()
        states = [State.of(scene.run)]
        ballast.unlink()
        carries_on(scene, states, 60)


@pytest.mark.long
def test_a_run_that_is_moved_away_ends_the_search_at_once_and_carries_on_when_it_is_back(
    crew: Scene, tmp_path: Path
) -> None:
    with Scene(tmp_path, evaluations=10_000, seconds=0.05, beside=crew) as scene:
        scene.start_driver()
        scene.wait_for_results(5)
        scene.run.rename(tmp_path / "elsewhere")
        ends_in_a_line(scene)
        assert not scene.run.exists()
        (tmp_path / "elsewhere").rename(scene.run)
        carries_on(scene, [State.of(scene.run)], 60)


@pytest.mark.long
def test_a_file_system_that_goes_away_ends_the_search_at_once_and_carries_on_when_it_is_back(
    crew: Scene, tmp_path: Path
) -> None:
    (tmp_path / "device").mkdir()
    bound = ("--bind", str(tmp_path / "device"), str(tmp_path / "disk"))
    with Scene(tmp_path / "scene", evaluations=10_000, seconds=0.05, beside=crew) as scene:
        scene.run = tmp_path / "disk" / "run"
        with mounted(*bound):
            scene.start_driver()
            scene.wait_for_results(5)
        ends_in_a_line(scene)
        with mounted(*bound):
            carries_on(scene, [State.of(scene.run)], 60)


def replaced(journal: Path) -> None:
    """Put a copy in its place, as an editor or a synchronising program does."""
    copy = journal.with_name("copy")
    copy.write_bytes(journal.read_bytes())
    copy.rename(journal)


def emptied(journal: Path) -> None:
    """Empty it, as ``> journal.jsonl`` does."""
    os.truncate(journal, 0)


def removed(journal: Path) -> None:
    """Remove it."""
    journal.unlink()


@pytest.mark.parametrize(
    "attack", [replaced, pytest.param(emptied, marks=pytest.mark.long), pytest.param(removed, marks=pytest.mark.long)]
)
def test_a_journal_that_something_else_changes_ends_the_search_at_once(
    attack: Callable[[Path], None], crew: Scene, tmp_path: Path
) -> None:
    with Scene(tmp_path, evaluations=10_000, seconds=0.05, beside=crew) as scene:
        scene.start_driver()
        scene.wait_for_results(5)
        attack(scene.run / "journal.jsonl")
        ends_in_a_line(scene)


def test_two_drivers_never_write_one_journal_not_even_without_the_lock_file(crew: Scene, tmp_path: Path) -> None:
    with Scene(tmp_path, evaluations=10_000, beside=crew) as scene:
        first = scene.start_driver()
        scene.wait_for_results(3)
        states = [State.of(scene.run)]
        for name in ("second", "third"):
            scene.start_driver(name)
            assert scene.wait_for_end() == 2, scene.last_words()
            assert "one at a time" in scene.said(name)
            (scene.run / ".lock").unlink(missing_ok=True)
        assert first.poll() is None
        first.kill()
        first.wait()
        states.append(State.of(scene.run))
        carries_on(scene, states, scene.told() + 10)
