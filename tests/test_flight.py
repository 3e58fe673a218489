"""Evaluations in flight on a scheduler that others use too."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from distributed import Client, LocalCluster

from menndl_dask.evolution import Evolution
from menndl_dask.flight import Flight
from menndl_dask.parcel import Task
from menndl_dask.problem import Limits
from menndl_dask.table import Evaluation
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
