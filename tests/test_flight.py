"""Evaluations in flight on a scheduler that others use too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from menndl_dask import flight as flight_module
from menndl_dask.bundle import BundleSize
from menndl_dask.evolution import Evolution
from menndl_dask.flight import Flight
from menndl_dask.individual import Evaluation, Individual
from menndl_dask.parcel import Evaluate, Task
from menndl_dask.problem import Limits
from menndl_dask.result import Result
from tests import evaluations
from tests.evaluations import SPACE


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as connected,
    ):
        yield connected


def all_home(flight: Flight) -> list[Evaluation]:
    home: list[Evaluation] = []
    deadline = time.monotonic() + 60
    while flight and time.monotonic() < deadline:
        home += flight.arrivals(0.2)
    return home


def test_two_searches_on_one_scheduler_get_their_own_results_though_their_individuals_have_the_same_numbers(
    client: Client,
) -> None:
    pairs = []
    for seed, evaluate in enumerate((evaluations.instant, evaluations.brief)):
        flight = Flight(client, evaluate, (None, Limits()))
        evolution = Evolution(SPACE, seed=seed)
        flight.submit([Task(evolution.ask()) for _ in range(4)])
        pairs.append((flight, flight.individuals))
    for flight, individuals in pairs:
        home = all_home(flight)
        assert {one.genome: result.fitness for one, result in home} == {
            one.genome: evaluations.toy_result(one).fitness for one in individuals
        }
        flight.close()


def test_what_no_event_has_told_is_asked_for(client: Client) -> None:
    flight = Flight(client, evaluations.brief, (None, Limits()))
    client.unsubscribe_topic(flight._topic)  # as after a broken connection
    individuals = [Evolution(SPACE).ask()]
    flight.submit([Task(one) for one in individuals])
    assert [(one, result.fitness) for one, result in all_home(flight)] == [
        (one, evaluations.toy_result(one).fitness) for one in individuals
    ]
    assert not flight.notes
    flight.close()


def test_nothing_of_a_closed_flight_stays(client: Client) -> None:
    flight = Flight(client, evaluations.brief, (None, Limits()))
    flight.submit([Task(Evolution(SPACE).ask())])
    flight.close()
    assert not flight
    assert not flight._futures
    assert not flight._landed


def test_short_evaluations_go_together_after_a_while_and_every_result_is_its_own(client: Client) -> None:
    flight = Flight(client, evaluations.instant, (None, Limits()))
    evolution = Evolution(SPACE, screen=False)
    results: dict[Individual, float | None] = {}
    sizes = []
    for _ in range(30):
        flight.submit([Task(evolution.ask()) for _ in range(12)])
        sizes.append(len(flight) / len(flight._futures))
        for individual, result in all_home(flight):
            assert individual not in results
            results[individual] = result.fitness
            evolution.tell(individual, result)
    assert results == {one: evaluations.toy_result(one).fitness for one in results}
    assert len(results) == 360
    assert max(sizes[:8]) == 1.0  # too few were known
    assert 1.0 < max(sizes) <= 6.0  # half of them at most
    assert not flight.notes
    flight.close()


def test_what_takes_longer_than_a_task_goes_one_by_one(client: Client) -> None:
    flight = Flight(client, evaluations.brief, (None, Limits()))
    flight._bundle_size.tell(99, 0.0)
    flight.submit([Task(Evolution(SPACE).ask())])
    assert all_home(flight)
    assert flight._bundle_size.among(64) == 9  # a tenth of a second among a hundred: a millisecond each
    flight._bundle_size.tell(10, 1.0)
    assert flight._bundle_size.among(64) == 1
    flight.close()


def bundled(client: Client, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch) -> Flight:
    """Return a flight of four evaluations in one bundle."""
    flight = Flight(client, evaluate, (None, Limits()))
    evolution = Evolution(SPACE)
    with monkeypatch.context() as patch:
        patch.setattr(BundleSize, "among", lambda self, in_flight: 4)
        flight.submit([Task(evolution.ask()) for _ in range(4)])
    assert len(flight) == len(flight.individuals) == 4
    assert len(flight._futures) == 1
    return flight


def test_what_waits_behind_a_long_one_in_its_bundle_goes_elsewhere(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    flight = bundled(client, evaluations.brief, monkeypatch)
    individuals = flight.individuals
    first = flight.arrivals(30)
    assert [one for one, _ in first] == individuals[:1]
    assert flight.individuals == individuals[1:]
    assert len(flight._futures) == 3
    assert [one for one, _ in sorted(all_home(flight), key=lambda pair: pair[0].id)] == individuals[1:]
    assert not flight.notes
    flight.close()


def test_a_failure_in_a_bundle_is_that_of_its_own_evaluation(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    flight = bundled(client, evaluations.raising, monkeypatch)
    failures = {one.id: result.failure for one, result in all_home(flight)}
    assert failures == {0: None, 1: "error", 2: None, 3: "error"}
    flight.close()


def test_a_bundle_of_which_no_event_has_told_is_asked_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flight, "_land", lambda self, event: None)  # as after a broken connection
    flight = bundled(client, evaluations.instant, monkeypatch)
    individuals = flight.individuals
    assert {one: result.fitness for one, result in all_home(flight)} == {
        one: evaluations.toy_result(one).fitness for one in individuals
    }
    assert not flight.notes
    flight.close()


def test_a_bundle_that_dask_loses_is_submitted_again_one_by_one(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flight = bundled(client, partial(evaluations.waiting, tmp_path / "go on"), monkeypatch)
    client.cancel(list(flight._futures.values()), force=True)
    while not flight.notes:
        assert not flight.arrivals(1.0)
    assert flight.notes == ["Dask lost 4 evaluations; submitted again"]
    assert len(flight._futures) == len(flight) == 4
    (tmp_path / "go on").touch()
    assert len(all_home(flight)) == 4
    flight.close()


def test_a_bundle_that_takes_its_workers_down_is_evaluated_one_by_one(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Flight, "_land", lambda self, event: None)
    flight = bundled(client, evaluations.instant, monkeypatch)
    individuals = flight.individuals
    with monkeypatch.context() as patch:  # as Dask tells of a task that has killed too many
        patch.setattr(flight_module, "_asked_for", lambda future: Result.failed("worker_lost", "KilledWorker"))
        while not flight.notes:
            assert not flight.arrivals(1.0)
    assert flight.notes == ["Dask lost 4 evaluations; submitted again"]
    assert len(flight._futures) == 4
    home = all_home(flight)
    assert sorted(one.id for one, _ in home) == [one.id for one in individuals]
    assert all(result.failure != "worker_lost" for _, result in home)
    flight.close()
