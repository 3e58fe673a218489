"""Tests of `menndl_dask.cluster.node.task_keeper`: a task that is killed is started again, one that ends is not."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slurm import until

# starts a task of bash with a word as its number, in a process of its own: signal handlers belong to a main thread
KEEPER = """
import sys
from menndl_dask.cluster.node import task_keeper
task_keeper._FIRST_PAUSE_S = 0.01
numbers = [{"NUMBER": word} for word in sys.argv[2:]]
sys.exit(task_keeper.TaskKeeper(["bash", "-c", sys.argv[1]], numbers).run())
"""


def keeper(script: str, *numbers: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", KEEPER, script, *numbers]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("script", "starts", "code"),
    [
        ("kill -9 $$", 5, 137),  # for ever: it is given up
        ("[ $(wc -l < starts) -lt 4 ] && kill -SEGV $$; exit 3", 3, 3),
        ("exit 0", 1, 0),
        ("exit 1", 1, 1),  # such as without its scheduler
        ("kill -TERM $$", 1, 143),  # the batch system asks it to end
    ],
)
def test_only_what_is_killed_is_started_again_and_not_for_ever(
    script: str, starts: int, code: int, tmp_path: Path
) -> None:
    (tmp_path / "starts").write_text("\n")
    kept = keeper(f"echo $NUMBER >> starts; {script}", "0", folder=tmp_path)
    _, errors = kept.communicate(timeout=200)
    assert (tmp_path / "starts").read_text().split() == ["0"] * starts
    assert kept.returncode == code
    assert ("it is given up" in errors) == (code == 137)


def test_the_signal_to_end_reaches_each_task_once_and_what_a_killed_one_leaves_is_ended(tmp_path: Path) -> None:
    told = "trap 'echo $NUMBER >> told; kill $!; exit 0' TERM; sleep 100 & echo $$ $! > $NUMBER; wait"
    kept = keeper(told, "0", "1", folder=tmp_path)
    until(lambda: all((tmp_path / name).exists() and (tmp_path / name).read_text().split()[1:] for name in "01"))
    first, child = (tmp_path / "0").read_text().split()
    (tmp_path / "0").unlink()
    subprocess.run(["kill", "-9", first], check=True)
    until(lambda: not Path("/proc", child).exists() or "Z" in Path("/proc", child, "stat").read_text().split()[2])
    until(lambda: (tmp_path / "0").exists() and (tmp_path / "0").read_text().split()[1:])
    kept.send_signal(signal.SIGTERM)
    kept.communicate(timeout=200)
    assert sorted((tmp_path / "told").read_text().split()) == ["0", "1"]
    assert kept.returncode == 0
