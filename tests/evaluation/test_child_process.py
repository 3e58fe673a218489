"""ChildProcess processes: frames there and back, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from menndl_dask.errors import TrainerError
from menndl_dask.evaluation.child_process import ChildProcess
from tests.processes import gone


@pytest.fixture
def child() -> Iterator[ChildProcess]:
    child = ChildProcess("tests.answering")
    yield child
    child.close()


def test_a_frame_comes_back_as_it_was_sent(child: ChildProcess) -> None:
    assert child.ask({"a": [1, 2.5, None]}, 120) == {"a": [1, 2.5, None]}
    large = np.arange(3_000_000, dtype="float32")  # larger than any pipe
    assert np.array_equal(child.ask(large, 120), large)


def test_what_the_child_prints_does_not_disturb_the_frames(child: ChildProcess) -> None:
    assert child.ask("print", 120) == "print"


def test_an_exception_in_the_child_is_raised_in_its_words_and_the_child_lives_on(child: ChildProcess) -> None:
    with pytest.raises(TrainerError, match=r"ValueError: expected something else \(answering.py, line \d+\)"):
        child.ask("raise", 120)
    assert child.ask(1, 120) == 1


def test_a_child_that_dies_is_reported_with_its_last_words(child: ChildProcess) -> None:
    with pytest.raises(TrainerError, match="ended with status 3; last line of its errors: I was told to die") as caught:
        child.ask("die", 120)
    assert isinstance(caught.value.__cause__, EOFError)
    assert not child.is_alive
    with pytest.raises(TrainerError, match="ended with status 3"):
        child.ask(1, 120)


def test_a_killed_child_is_reported_with_its_signal(child: ChildProcess) -> None:
    os.kill(child.ask("pid", 120), signal.SIGKILL)
    with pytest.raises(TrainerError, match="was ended by SIGKILL"):
        child.ask(1, 120)


def test_a_child_that_hangs_is_killed_at_its_time(child: ChildProcess) -> None:
    child.ask("pid", 120)
    started = time.monotonic()
    with pytest.raises(TrainerError, match=r"no answer in 0\.2 s; it was killed") as caught:
        child.ask("hang", 0.2)
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert time.monotonic() - started < 60
    assert gone(child.pid)


def test_a_module_that_cannot_be_imported_is_reported() -> None:
    child = ChildProcess("tests.no_such_module")
    with pytest.raises(TrainerError, match=r"No module named tests\.no_such_module"):
        child.ask(1, 120)
    child.close()


def test_closing_ends_the_child(child: ChildProcess) -> None:
    pid = child.ask("pid", 120)
    child.close()
    assert gone(pid)


def test_the_child_outlives_the_thread_that_started_it() -> None:
    # on Linux the signal on a parent's death is in truth one on the death of a thread
    started: list[ChildProcess] = []
    thread = threading.Thread(target=lambda: started.append(ChildProcess("tests.answering")))
    thread.start()
    thread.join()
    assert started[0].ask(1, 120) == 1
    assert started[0].is_alive
    started[0].close()


def test_the_child_dies_with_its_parent_even_in_the_middle_of_an_answer() -> None:
    script = (
        "from menndl_dask.evaluation.child_process import ChildProcess\n"
        "child = ChildProcess('tests.answering')\n"
        "print(child.ask('pid', 120), flush=True)\n"
        "child.ask('hang')\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(pid)
