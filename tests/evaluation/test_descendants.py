"""Descendants of a process: found and ended wherever they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from menndl_dask.evaluation import descendants as module
from menndl_dask.evaluation.descendants import MARK, descendants, end_marked, family
from tests.processes import gone

# a program that adopts orphans: it prints whether they and a process that has ended are found, and what is left of them
ADOPTING = """
import os, signal, subprocess, time
from menndl_dask.evaluation.descendants import adopt_orphans, descendants, end_descendants, family
adopt_orphans()
script = "exec >/dev/null 2>&1; setsid sh -c 'trap \\"\\" TERM HUP INT; sleep 600' & setsid sleep 600 &"
subprocess.run(["sh", "-c", script])
child = subprocess.Popen(["true"])  # kept: a Popen that is forgotten is waited for, and its number is gone
ended = child.pid
while open(f"/proc/{ended}/stat").read().split()[2] != "Z":
    time.sleep(0.001)
print(len(descendants(os.getpid())) >= 3, len(family(os.getpid())) >= 3, os.path.exists(f"/proc/{ended}"))
print(end_descendants(), descendants(os.getpid()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
def test_orphans_are_adopted_counted_and_ended() -> None:
    found = subprocess.run([sys.executable, "-c", ADOPTING], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.splitlines() == ["True True False", "[] []"], found


def test_without_a_list_of_children_they_are_found_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    process = subprocess.Popen(["sh", "-c", "sleep 600 & wait"])
    try:
        while len(descendants(process.pid)) < 1:
            pass
        known = descendants(process.pid)
        monkeypatch.setattr(module, "_PROC", tmp_path)
        assert descendants(process.pid) == known
        assert family(process.pid) == [process.pid, *known]
        assert descendants(2**22 + 1) == []
    finally:
        module.kill([process.pid, *known])
        process.wait()


def test_a_process_with_a_mark_is_ended_whichever_its_parent_is() -> None:
    script = "setsid sleep 600 >/dev/null 2>&1 & echo $!"
    marked = {**os.environ, MARK: "earlier 0123456789abcdef"}
    pid = int(subprocess.run(["sh", "-c", script], env=marked, capture_output=True, check=True).stdout)
    assert pid
    end_marked("0123456789abcdef")
    assert gone(pid)
