"""Evaluations in flight on a scheduler that others use too."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from menndl_dask.evolution.evolution import Evolution
from menndl_dask.genome.individual import Evaluation
from menndl_dask.problem import Limits
from menndl_dask.search import dispatcher as dispatcher_module
from menndl_dask.search.dispatcher import _ATTEMPTS, Dispatcher
from menndl_dask.search.remote_evaluation import Evaluate, EvaluationRequest
from tests import evaluations
from tests.evaluations import SPACE


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as connected,
    ):
        yield connected


def dispatched(client: Client, evaluate: Evaluate, count: int, seed: int = 0) -> Dispatcher:
    """Return a dispatcher with some evaluations in flight."""
    dispatcher = Dispatcher(client, evaluate, (None, Limits()))
    evolution = Evolution(SPACE, seed=seed)
    for _ in range(count):
        dispatcher.submit(EvaluationRequest(evolution.ask()))
    assert len(dispatcher) == len(dispatcher.individuals) == dispatcher.submitted == count
    return dispatcher


def all_completed(dispatcher: Dispatcher) -> list[Evaluation]:
    completed: list[Evaluation] = []
    deadline = time.monotonic() + 150
    while dispatcher and time.monotonic() < deadline:
        completed += dispatcher.completed(0.2)
    return completed


def test_two_searches_on_one_scheduler_get_their_own_results_though_their_individuals_have_the_same_numbers(
    client: Client,
) -> None:
    pairs = []
    for seed, evaluate in enumerate((evaluations.instant, evaluations.brief)):
        dispatcher = dispatched(client, evaluate, 4, seed)
        pairs.append((dispatcher, dispatcher.individuals))
    for dispatcher, individuals in pairs:
        assert {one.genome: result.fitness for one, result in all_completed(dispatcher)} == {
            one.genome: evaluations.toy_result(one).fitness for one in individuals
        }
        dispatcher.close()


def test_an_evaluation_that_is_defined_in_a_script_travels_with_its_request(client: Client) -> None:
    offset = 0.25

    def shifted(individual: object, problem: object, limits: object) -> object:
        from menndl_dask.result import Result

        return Result(offset)

    assert [result.fitness for _, result in all_completed(dispatched(client, shifted, 1))] == [0.25]  # type: ignore[arg-type]


def test_an_exception_in_an_evaluation_is_a_failure_of_that_one(client: Client) -> None:
    completed = all_completed(dispatched(client, evaluations.raising, 4))
    assert {one.id: result.failure for one, result in completed} == {0: None, 1: "error", 2: None, 3: "error"}


def test_nothing_of_a_closed_dispatcher_stays(client: Client) -> None:
    dispatcher = dispatched(client, evaluations.brief, 3)
    dispatcher.close()
    assert not dispatcher
    assert dispatcher.completed(0.3) == []
    deadline = time.monotonic() + 150
    while (left := client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.05)
    assert left == 0


def test_evaluations_that_dask_loses_are_submitted_again_a_bounded_number_of_times(
    client: Client, tmp_path: Path
) -> None:
    dispatcher = dispatched(client, partial(evaluations.waiting, tmp_path / "go on"), 1)
    individuals = dispatcher.individuals
    completed: list[Evaluation] = []
    for _ in range(_ATTEMPTS):
        assert dispatcher.individuals == individuals
        client.cancel([one.future for one in dispatcher._in_flight.values()], force=True)
        while not completed and not dispatcher.notes:
            completed = dispatcher.completed(1.0)
        assert completed or dispatcher.notes == ["Dask lost 1 evaluation; submitted again"]
        dispatcher.notes.clear()
    assert [(one, result.failure) for one, result in completed] == [(individuals[0], "worker_lost")]
    assert dispatcher.losses == [(individuals[0].id, None)] * _ATTEMPTS  # none was seen to run
    assert not dispatcher
    (tmp_path / "go on").touch()
    dispatcher.close()


def test_what_the_scheduler_has_forgotten_is_submitted_again(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "_UNKNOWN_S", 0.0)
    dispatcher = dispatched(client, partial(evaluations.waiting, tmp_path / "go on"), 2)
    dispatcher.worker_threads()
    keys = list(dispatcher._in_flight)
    while dispatcher._link.states(keys) != dict.fromkeys(keys, "processing"):
        assert not dispatcher.completed(0.1)
    # as for a scheduler that took the client for lost
    client.run_on_scheduler(
        lambda dask_scheduler, keys, name: dask_scheduler.client_releases_keys(keys, name, "test"),
        keys=keys,
        name=client.id,
    )
    (tmp_path / "go on").touch()
    assert [dispatcher.give_up_overdue(now) for now in (20.0, 30.0)] == [[], []]
    assert dispatcher.notes == ["Dask lost 2 evaluations; submitted again"]
    assert len(all_completed(dispatcher)) == 2
    dispatcher.close()


def test_none_is_blamed_for_the_death_of_a_neighbour(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher = dispatched(client, evaluations.instant, 3)
    dispatcher.worker_threads()  # two threads in one process
    deaths: Counter[int] = Counter()
    outcome_of, alone = Dispatcher._outcome_of, []

    def with_poison(self: Dispatcher, future: Any) -> Any:
        """Let all die with their neighbour twice, and network 1 always."""
        number = self._in_flight[future.key].request.individual.id
        deaths[number] += 1
        if deaths[number] > 2:
            alone.append((len(self._in_flight), self.room(9)))
        if deaths[number] > 2 and number != 1:
            return outcome_of(self, future)
        return dispatcher_module._Lost(1, f"tcp://{deaths[number]}")

    monkeypatch.setattr(Dispatcher, "_outcome_of", with_poison)
    results = {one.id: result for one, result in all_completed(dispatcher)}
    assert {n: result.failure for n, result in results.items() if result.failure == "worker_lost"} == {1: "worker_lost"}
    assert results[1].message == "4 workers died while they evaluated it (tcp://1, tcp://2, tcp://3, tcp://4)"
    assert len(results) == 3
    assert alone == [(1, 0)] * 4  # the only one in flight, and no other may be submitted
    assert "while evaluating network" in dispatcher.notes[0]


def test_only_what_no_worker_has_begun_is_cancelled_when_the_time_is_up(client: Client, tmp_path: Path) -> None:
    dispatcher = dispatched(client, partial(evaluations.waiting, tmp_path / "go on"), 9)
    while not any(key in dispatcher._in_flight for keys in client.processing().values() for key in keys):
        assert not dispatcher.completed(0.1)  # what still runs is of another test
    cancelled = dispatcher.cancel_unstarted()
    begun = dispatcher.individuals
    assert cancelled + len(begun) == 9
    assert begun
    (tmp_path / "go on").touch()
    assert sorted(one.id for one, _ in all_completed(dispatcher)) == [one.id for one in begun]
    dispatcher.close()
