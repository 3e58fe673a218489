"""The supervise over a training: whatever its process does, it has an end, and nothing of it remains."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from menndl_dask.evaluation import supervision
from menndl_dask.evaluation.channel import Channel
from menndl_dask.evaluation.result_builder import ResultBuilder
from menndl_dask.evaluation.supervision import Orphaned, supervise
from menndl_dask.problem import Limits


class Program:
    """A process that is watched, with the end of a pipe that its messages would come through."""

    def __init__(self, command: str) -> None:
        reading, self.writing = os.pipe()
        self._process = subprocess.Popen(["sh", "-c", command], start_new_session=True, pass_fds=[self.writing])
        self.pid, self.channel = self._process.pid, Channel(reading)
        self._is_open = True

    def exit_status(self) -> int | None:
        return self._process.poll()

    output = None

    def last_stderr_line(self) -> str:
        return "so long"

    def last_output(self) -> str:
        return "much, and so long"

    def close(self) -> None:
        self.channel.close()
        self._process.wait()

    def let_go(self) -> None:
        """Close our copy of the writing end."""
        if self._is_open:
            os.close(self.writing)
            self._is_open = False


@pytest.fixture
def parent() -> Iterator[tuple[Channel, Channel]]:
    """Return the two ends of the way to a worker."""
    reading, writing = os.pipe()
    ends = Channel(reading), Channel(writing=writing)
    yield ends
    for end in ends:
        end.close()


def _watched(program: Program, parent: Channel, limits: Limits = Limits(60)) -> ResultBuilder:
    builder = ResultBuilder(0)
    builder.update({"phase": "train", "at": time.monotonic()})
    try:
        supervise(program, builder, limits, parent)
    finally:
        program.let_go()
    assert program.exit_status() is not None
    return builder


def test_a_process_that_leaves_is_told_with_the_last_line_of_its_errors(parent: tuple[Channel, Channel]) -> None:
    builder = _watched(Program("exit 3"), parent[0])
    assert builder.outcome == {
        "failure": "killed",
        "message": "the process ended with status 3; last line of its errors: so long",
    }


def test_a_process_that_leaves_others_behind_has_ended(parent: tuple[Channel, Channel]) -> None:
    started = time.monotonic()
    builder = _watched(Program("sleep 600 & exit 0"), parent[0])  # which holds the pipe
    assert builder.outcome["message"] == "the process ended with status 0"
    assert time.monotonic() - started < 100


def test_a_process_that_closes_its_pipe_and_stays_is_killed(
    parent: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_PATIENCE", 0.1)
    program = Program("exec sleep 600")
    program.channel.close()
    reading, writing = os.pipe()
    os.close(writing)
    program.channel = Channel(reading)
    assert _watched(program, parent[0]).outcome["message"] == (
        "the process closed the pipe for its messages and did not end; it was killed"
    )


def test_a_process_that_stops_in_the_middle_of_a_message_is_overdue_in_time(parent: tuple[Channel, Channel]) -> None:
    program = Program("exec sleep 600")
    os.write(program.writing, b"\0\0\0")  # the beginning of a length
    builder = _watched(program, parent[0], Limits(0.3))
    assert builder.outcome["failure"] == "timed_out"
    assert builder.outcome["message"] == "it took longer than 0.3 s; it was killed in phase 'train'"


def test_a_training_whose_worker_goes_away_is_ended(parent: tuple[Channel, Channel]) -> None:
    parent[1].close()
    program = Program("exec sleep 600")
    with pytest.raises(Orphaned):
        _watched(program, parent[0])
