"""The trainer tidies up whenever it is told to go."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from menndl_dask.evaluation import trainer
from menndl_dask.evaluation.child_process import Channel


class _Left(Exception):  # noqa: N818 - stands for the end of the process
    pass


def test_a_trainer_that_is_told_to_go_while_it_goes_still_tidies_up(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    set_handler = signal.signal

    def told_first(number: int, handler: Any) -> Any:
        """Set a handler, before which Python handles what has come, as `signal.signal` does."""
        if handler is signal.SIG_IGN and not told:
            told.append("to go")
            signal.raise_signal(signal.SIGTERM)
        return set_handler(number, handler)

    class _Trainer:
        def __init__(self, _: Channel) -> None:
            self.answer = None

        def close(self, patience: float) -> None:
            assert patience > 0
            told.append("tidied up")

    def leave(status: int) -> None:
        told.append("left")
        raise _Left(status)

    monkeypatch.setattr(trainer, "connect_to_parent", Channel)
    monkeypatch.setattr(trainer, "serve", lambda *_: None)  # the worker has closed the pipe
    monkeypatch.setattr(trainer, "Trainer", _Trainer)
    monkeypatch.setattr(signal, "signal", told_first)
    monkeypatch.setattr("os._exit", leave)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(_Left):
            trainer.main()
    finally:
        set_handler(signal.SIGTERM, before)
    assert told == ["to go", "tidied up", "left"]
