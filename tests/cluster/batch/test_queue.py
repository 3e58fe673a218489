"""The queue: jobs with their reasons, none, and a batch system that does not answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from menndl_dask.cluster.batch.queue import listed


@pytest.mark.parametrize(
    ("system", "command", "script", "jobs"),
    [
        ("slurm", "squeue", "echo 12 RUNNING None; echo 13 PENDING Priority", {"12": "", "13": "Priority"}),
        ("slurm", "squeue", "echo cannot reach the controller >&2; exit 1", None),
        ("lsf", "bjobs", "echo No unfinished job found >&2; exit 255", {}),
    ],
)
def test_the_queue_is_told_as_far_as_the_batch_system_answers(
    system: str, command: str, script: str, jobs: dict[str, str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / command
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert asyncio.run(listed(system)) == jobs


def test_without_its_command_a_batch_system_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert asyncio.run(listed("slurm")) is None
