"""A run that is asked to stop winds down, keeps what is home, and carries on when it is started again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.cluster.profile import Local
from menndl_dask.errors import RunError
from menndl_dask.run import stop_request
from menndl_dask.run.progress import Counts
from menndl_dask.run.run import Run
from menndl_dask.search.search import Search
from tests import evaluations
from tests.evaluations import SPACE


class Asking:
    """Asks the run to stop when some evaluations are home; a `Progress`."""

    def __init__(self, run: Path) -> None:
        self._run = run

    def show(self, counts: Counts, now: float) -> None:
        if counts.done >= 5 and not stop_request.is_asked(self._run):
            stop_request.ask(self._run, "a test")

    def close(self, counts: Counts, now: float) -> None:
        pass


def test_a_run_that_is_asked_to_stop_loses_nothing_and_carries_on(tmp_path: Path) -> None:
    with load_cluster(Local(workers=2, dashboard_port=None)) as cluster, cluster.client() as client:
        search = Search(None, SPACE, tmp_path, evaluate=evaluations.brief)
        found = search.run(client, evaluations=500, progress=Asking(tmp_path))
        assert search.stopped == "asked to stop"
        before = len(list(found.evaluations))
        assert 5 <= before < 500
        assert any(note["message"].startswith("asked to stop: ") for note in found.notes)
        # whoever starts it again means it
        again = Search(None, SPACE, tmp_path, evaluate=evaluations.instant)
        again.run(client, evaluations=before + 20)
        assert again.stopped is None
    assert sorted(one.id for one, _ in Run(tmp_path).evaluations) == list(range(before + 20))


def test_a_driver_in_the_queue_stops_before_its_job_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(stop_request.DRIVER_ENDS, str(time.time() + 1000))
    assert stop_request.reason(tmp_path) is None
    monkeypatch.setenv(stop_request.DRIVER_ENDS, str(time.time() - 1))
    assert stop_request.reason(tmp_path) == "the driver's batch job ends"


def test_a_driver_in_the_queue_obeys_what_was_asked_while_it_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_request.ask(tmp_path, "a test")
    monkeypatch.setenv(stop_request.DRIVER_ENDS, "inf")
    stop_request.begin(tmp_path)
    assert stop_request.is_asked(tmp_path)
    monkeypatch.delenv(stop_request.DRIVER_ENDS)
    stop_request.begin(tmp_path)
    assert not stop_request.is_asked(tmp_path)


def test_a_request_replaces_a_link_and_does_not_follow_it(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "stop").symlink_to(tmp_path / "victim")
    stop_request.ask(tmp_path, "a test")
    stop_request.withdraw(tmp_path)
    assert (tmp_path / "victim").read_text() == "precious"
    (tmp_path / "stop").mkdir()
    assert not stop_request.is_asked(tmp_path)
    for action in (lambda: stop_request.ask(tmp_path, "a test"), lambda: stop_request.withdraw(tmp_path)):
        with pytest.raises(RunError, match="stop: cannot be"):
            action()
