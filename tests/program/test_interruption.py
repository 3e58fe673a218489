"""Tests of `menndl_dask.program.interruption`: signals at any moment, to the whole group, as a terminal sends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from menndl_dask.program.interruption import interruptible, uninterrupted, was_interrupted
from tests.slurm import until

MARK = "MENNDL_INTERRUPTED_BY"
# a signal, when it is sent (after this line, and so many seconds), and whether it is sent again
MOMENTS = [
    (signal.SIGTERM, "starting", 0.3, False),
    (signal.SIGHUP, "working", 0.0, False),
    (signal.SIGINT, "working", 0.2, True),
]


def test_a_part_that_is_not_to_be_interrupted_is_done_first() -> None:
    done = []

    def close() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)  # a launcher passes it on too
            done.append("jobs")

    with pytest.raises(KeyboardInterrupt):
        close()
    assert done == ["jobs"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not was_interrupted()


def test_a_signal_is_named_and_one_that_was_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible("stopped"):
            signal.raise_signal(signal.SIGHUP)
            with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
                signal.raise_signal(signal.SIGTERM)
            assert was_interrupted()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.fixture
def _hang_ups_are_heard() -> Iterator[None]:
    """Let programs that a test starts receive SIGHUP: below nohup they would inherit that it is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_hang_ups_are_heard")
def test_an_interrupted_program_ends_with_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    started = []
    for number, (_, line, _, _) in enumerate(MOMENTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.interrupted"],
            env={**os.environ, MARK: str(folder), "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append((process, folder, line))
    for (process, folder, line), (sent, _, pause, is_again) in zip(started, MOMENTS, strict=True):
        assert process.stdout is not None
        while process.stdout.readline().strip() != line:
            assert process.poll() is None, process.communicate()
        time.sleep(pause)
        os.killpg(process.pid, sent)
        if is_again:
            time.sleep(0.5)
            os.killpg(process.pid, sent)
        _, errors = process.communicate(timeout=60)
        # the second signal may come when all is done, and Python itself ends
        assert process.returncode in ((130, -sent) if is_again else (130,))
        assert errors.strip() == "stopped; the same command carries on"
        until(lambda folder=folder: not marked(str(folder)), 10)
        assert list(folder.iterdir()) == []


def marked(value: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


# what the main thread does when the signals come: it runs C code, or starts workers, which must not receive them
BUSY = {
    "C code": "print('busy', flush=True); [ctypes.CDLL(None).pthread_mutex_lock(LOCK) for _ in range(2)]",
    "start of workers": "with kept_from_children(): print('busy', flush=True); time.sleep(20)",
}
PROGRAM = """
import ctypes, sys, time
from menndl_dask.program.guard import guarded
from menndl_dask.program.interruption import kept_from_children
LOCK = ctypes.create_string_buffer(64)  # one that is locked twice waits for ever
def main():
    {}
sys.exit(guarded(main, "stopped"))
"""


@pytest.mark.parametrize("what", BUSY)
def test_two_signals_end_a_program_at_once_whatever_it_does(what: str) -> None:
    command = [sys.executable, "-c", PROGRAM.format(BUSY[what])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "busy\n"
    for _ in range(2):
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=15)
    assert (process.returncode, errors) == (130, "\nstopped\n")


ENDING = """
import signal, sys, time
from menndl_dask.program import guard
def say(text, **_):
    time.sleep(0.3)
    signal.raise_signal(signal.SIGINT)
    time.sleep(0.3)  # for the thread that listens
    sys.stderr.write(text)
guard.say = say
sys.exit(guard.guarded(lambda: signal.raise_signal(signal.SIGINT), "stopped"))
"""


def test_the_last_message_is_said_once_though_a_second_signal_comes_meanwhile() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (130, "\nstopped")
