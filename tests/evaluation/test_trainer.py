"""The trainer tidies up whenever it is told to go, and after whatever a training does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from menndl_dask.errors import NodeError
from menndl_dask.evaluation import trainer, trainer_pool
from menndl_dask.evaluation.channel import Channel
from menndl_dask.evaluation.evaluation import evaluate
from menndl_dask.evaluation.trainer_pool import close
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import FullyConnected
from menndl_dask.problem import Limits
from menndl_dask.result import Result
from menndl_dask.training.request import TrainingRequest
from tests.problems import problem
from tests.processes import gone, until


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

    monkeypatch.setattr(trainer, "adopt_orphans", lambda: None)  # not in the process of the tests
    monkeypatch.setattr(trainer, "end_descendants", lambda: told.append("ended trainings"))
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
    assert told == ["to go", "ended trainings", "tidied up", "left"]


# --- what trainings do to their processes ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def how(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have evaluations use a trainer without Keras; its trainings are forked, or have a fresh interpreter."""
    how = getattr(request, "param", "forked")
    close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_pool, "_MODULE", "tests.cheap_trainer")
        patch.setattr(trainer_pool, "_GRACE_S", 2.0)
        patch.setattr(trainer_pool, "stage", lambda _, directory: directory)
        patch.setenv(trainer.FRESH, str(int(how == "fresh")))
        yield how
        close()


def _evaluate(name: str, folder: Path, limits: Limits = Limits(60)) -> Result:
    """Evaluate a network with a function of `tests.misbehaving` as its loss; no process of it is left afterwards."""
    of = replace(problem(), loss=f"tests.misbehaving:{name}")
    individual = Individual(1, Genome((FullyConnected(4),)))
    before = _others()  # of tests that ran before in this process, such as Python's tracker of resources
    result = evaluate(individual, of, limits, save=folder / "network.keras", scratch=folder)
    assert _others() <= before
    for started in folder.glob("started-*[0-9]"):
        assert gone(int(started.read_text()))
    return result


def _others() -> set[psutil.Process]:
    """Return the processes below this one that are no trainers."""
    return {process for process in psutil.Process().children(recursive=True) if not _is_trainer(process)}


def _is_trainer(process: psutil.Process) -> bool:
    return process.cmdline()[-1:] == ["tests.cheap_trainer"] and process.ppid() == os.getpid()


@pytest.mark.parametrize(
    ("name", "failure", "message"),
    [
        ("flooding", None, ""),
        ("flooding_and_crashing", "killed", r"was ended by SIGABRT; .*: Aborted \(.*\.py, line \d+\), after: the last"),
        ("crashing", "killed", r"was ended by SIGSEGV; .*: Segmentation fault \(misbehaving\.py, line \d+\)"),
        ("too_deep", "killed", r"was ended by SIGSEGV; .*: Segmentation fault \(misbehaving\.py, line \d+\)"),
        ("exiting", "killed", "the process ended with status 0"),
        ("daemons", None, ""),
        ("running_away", None, ""),
        ("forking_on", None, ""),
        ("disturbing", None, ""),
        ("prepared", None, ""),
        ("closing", None, ""),
        ("closing_everything", "error", "it could not send its result: all its files were closed"),
        ("garbage", "error", "something else wrote into the pipe for the messages of the training: expected a frame"),
        ("a_length", "error", "something else wrote into the pipe for the messages of the training: expected a frame"),
        ("raising_what_cannot_be_shown", "error", r"_Silent: its message cannot be shown: ValueError \(misbeh"),
        ("leaving", "error", r"SystemExit: 3 \(misbehaving\.py, line \d+\)"),
        ("broken_pipe", "error", r"BrokenPipeError: of a user's own pipe \(misbehaving\.py, line \d+\)"),
    ],
)  # fmt: skip
def test_whatever_a_training_does_is_told_and_leaves_no_process(
    how: str, name: str, failure: str | None, message: str, tmp_path: Path
) -> None:
    result = _evaluate(name, tmp_path)
    assert result.failure == failure, result.message
    assert re.search(message, result.message), result.message
    assert len(result.message) <= 500


@pytest.mark.parametrize("how", ["fresh"], indirect=True)
def test_a_fresh_interpreter_is_followed_in_the_same_way(how: str, tmp_path: Path) -> None:
    told = "the process was ended by SIGABRT; last line of its errors: Aborted (misbehaving.py, line "
    for name, failure, message in (
        ("flooding_and_crashing", "killed", told),
        ("daemons", None, ""),
        ("closing_everything", "error", "it could not send its result: all its files were closed"),
        ("garbage", "error", "something else wrote into the pipe for the messages of the training: expected a frame"),
    ):
        result = _evaluate(name, tmp_path)
        assert result.failure == failure, result.message
        assert result.message.startswith(message), result.message


@pytest.mark.parametrize("name", ["stopping", "hanging_in_c", "daemons_for_ever"])
def test_a_training_that_does_not_go_on_is_killed_at_its_limit(how: str, name: str, tmp_path: Path) -> None:
    result = _evaluate(name, tmp_path, Limits(0.4))
    assert result.failure == "timed_out"
    assert "s; it was killed in phase " in result.message


def test_memory_counts_in_all_processes_of_a_training_and_once(how: str, tmp_path: Path) -> None:
    assert _evaluate("sharing", tmp_path, Limits(60, 250_000_000)).succeeded
    result = _evaluate("hoarding", tmp_path, Limits(60, 150_000_000))
    assert result.failure == "out_of_memory"
    told = r"it and 1 process that it started held [12]\d\d MB where 150 MB are allowed, most of it process \d+ \(pyth"
    assert re.match(told, result.message), result.message


def test_a_network_is_trained_again_if_its_trainer_dies_but_not_for_ever(how: str, tmp_path: Path) -> None:
    result = _evaluate("killing_the_trainer_once", tmp_path)
    assert result.succeeded
    assert result.message.startswith("trained again, because the trainer died (1 of 3 times): ")
    result = _evaluate("daemons_and_the_end_of_the_trainer", tmp_path)
    assert result.failure == "killed", result.message
    assert result.message.startswith("the trainer died 3 times while it trained this network, at last: ")
    result = _evaluate("stopping_the_trainer", tmp_path, Limits(0.5))
    assert result.failure == "timed_out"


def test_a_node_on_which_no_process_can_be_started_is_no_networks_fault(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(trainer.Trainer, "__init__", lambda *_: None)
    monkeypatch.setattr(trainer, "_Forked", refused)
    here = trainer.Trainer(Channel())
    here.forks, here._scratch, here._parent = True, {"here": None}, None  # type: ignore[assignment, dict-item]
    assert here.answer(TrainingRequest({}, {}, Limits(), 0, scratch="here")) == (
        None,
        "Resource temporarily unavailable",
    )
    close()
    monkeypatch.setattr(trainer_pool, "ChildProcess", refused)
    with pytest.raises(NodeError, match="no process can be started for a trainer: Resource temporarily unavailable"):
        _evaluate("well_behaved", tmp_path)


WORKER = """
import sys
from dataclasses import replace
from pathlib import Path
from menndl_dask.evaluation import trainer_pool
from tests.evaluation.test_trainer import _evaluate
trainer_pool._MODULE, trainer_pool.stage = "tests.cheap_trainer", lambda _, directory: directory
_evaluate("daemons_for_ever", Path(sys.argv[1]))
"""


def test_what_a_training_started_ends_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], text=True) as worker:
        until(lambda: len(list(tmp_path.glob("started-*[0-9]"))) == 3, worker)
        below = psutil.Process(worker.pid).children(recursive=True)
        worker.kill()
    assert len(below) >= 5  # the trainer, the training and what that started
    assert [process for process in below if not gone(process.pid)] == []
    assert list((tmp_path / f"menndl-{os.getuid()}").iterdir()) == []
