"""The last output of a process: bounded, never in the way, and with the reason of a crash."""

from __future__ import annotations

import os

import pytest

from menndl_dask.evaluation.last_output import LastOutput
from tests.processes import gone

CRASH = """Check failed: rank is 3
Fatal Python error: Aborted

Current thread 0x00007f (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/home/me/my_losses.py", line 7 in crash
  File "/home/me/other.py", line 1 in main

Extension modules: numpy (total: 1)
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("one\ntwo\n\n", "two"),
        ("\x1b[31mred\x1b[0m " + "x" * 1000, "red " + "x" * 296),
        (CRASH, "Aborted (my_losses.py, line 7), after: Check failed: rank is 3"),
        ("Fatal Python error: Bus error\n\n<no Python frame>\n", "<no Python frame>"),
    ],
)
def test_the_last_line_or_the_crash_is_told(text: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.base_prefix", "/usr")
    reading, writing = os.pipe()
    output = LastOutput(reading)
    os.write(writing, text.encode())
    output.finish()  # although another process has the pipe open
    assert output.last_line() == line
    os.close(writing)
    assert not output.read()
    assert output.fileno() == -1
    output.close()


def test_only_the_last_part_is_kept_and_writers_do_not_wait() -> None:
    reading, writing = os.pipe()
    output = LastOutput(reading)
    output.follow()
    for _ in range(300):
        os.write(writing, b"x" * 99_999 + b"\n")
    os.write(writing, b"the end")
    os.close(writing)
    output.finish()
    assert len(output.text()) == 1 << 16
    assert output.last_line() == "the end"


def test_a_process_whose_reader_is_gone_does_not_wait() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            while True:
                os.write(writing, bytes(1 << 16))
        finally:
            os._exit(0)
    os.close(writing)
    LastOutput(reading).close()
    assert gone(child)
