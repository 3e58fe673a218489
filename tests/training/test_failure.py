"""Exceptions of a user's code become a failure in words, whatever they do when they are shown."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from menndl_dask.errors import GenomeError, InfeasibleError, one_line
from menndl_dask.training.failure import Ended, describe


class Hostile(Exception):  # noqa: N818 - named after what it does
    """Do what it is told when it is to be shown."""

    def __init__(self, shown: Any) -> None:
        super().__init__()
        self.shown = shown

    def __str__(self) -> str:
        if isinstance(self.shown, BaseException):
            raise self.shown
        return self.shown  # type: ignore[no-any-return]

    __repr__ = __str__


def _recursing() -> None:
    _recursing()


def _deep(depth: int) -> None:
    if depth:
        _deep(depth - 1)
    else:
        raise ValueError("at the bottom")


def _raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001
        return caught


@pytest.mark.parametrize(
    ("error", "failure", "message"),
    [
        (Hostile(ValueError("no")), "error", "Hostile: its message cannot be shown: ValueError (test_failure.py, "),
        (Hostile(SystemExit(3)), "error", "Hostile: its message cannot be shown: SystemExit (test_failure.py, line "),
        (Hostile(RecursionError()), "error", "Hostile: its message cannot be shown: RecursionError (test_fail"),
        (Hostile(KeyboardInterrupt()), "error", "an exception that cannot be shown: KeyboardInterrupt"),
        (Hostile(7), "error", "Hostile: its message cannot be shown: TypeError (test_failure.py, line "),
        (Hostile("\udc80 \x1b[1mbold\x1b[0m\nline"), "error", "Hostile: ? bold line (test_failure.py, line "),
        (SystemExit(0), "error", "SystemExit: 0 (test_failure.py, line "),
        (KeyboardInterrupt(), "error", "KeyboardInterrupt (test_failure.py, line "),
        (GeneratorExit(), "error", "GeneratorExit (test_failure.py, line "),
        (MemoryError(), "out_of_memory", "MemoryError (test_failure.py, line "),
        (ValueError("RESOURCE_EXHAUSTED: GPU"), "out_of_memory", "ValueError: RESOURCE_EXHAUSTED: GPU (test_fail"),
        (InfeasibleError("too small"), "infeasible", "too small"),
        (GenomeError("a gene"), "error", "a gene"),
        (Ended("diverged", "the loss became nan"), "diverged", "the loss became nan"),
    ],
)  # fmt: skip
def test_whatever_is_raised_has_a_kind_and_one_line(error: BaseException, failure: str, message: str) -> None:
    told = describe(_raised(error))
    assert told["failure"] == failure
    assert told["message"].startswith(message)
    assert "\n" not in told["message"]


def test_messages_of_any_length_are_cut_before_they_are_worked_on() -> None:
    error = ValueError("x" * 50_000_000)
    try:
        raise RuntimeError("outer") from error
    except RuntimeError as caught:
        told = describe(caught)
    assert len(one_line(error)) <= 300
    assert len(told["trace"]) < 60_000
    assert told["trace"].startswith("ValueError: xxx")
    assert told["trace"].endswith("RuntimeError: outer")


def test_a_recursion_is_told_with_its_last_calls() -> None:
    with pytest.raises(RecursionError) as caught:
        _recursing()
    told = describe(caught.value)
    assert told["message"].startswith("RecursionError: maximum recursion depth exceeded (test_failure.py, line ")
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(60_000)
    try:
        with pytest.raises(ValueError, match="at the bottom") as deep:
            _deep(50_000)
    finally:
        sys.setrecursionlimit(before)
    told = describe(deep.value)
    assert told["message"].startswith("ValueError: at the bottom (test_failure.py, line ")
    assert len(told["trace"]) <= 50_000
