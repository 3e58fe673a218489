"""Networks go where their predicted memory is; those that no worker can take are told, not trained."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import Client, Scheduler, SpecCluster, Worker

from menndl_dask.environment import MEMORY
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution, FullyConnected
from menndl_dask.genome.training_gene import Training
from menndl_dask.problem import Limits
from menndl_dask.result import Result
from menndl_dask.search.dispatcher import Dispatcher, InFlight
from menndl_dask.search.placement.memory import Need, WorkerMemory, prediction
from menndl_dask.search.remote_evaluation import EvaluationRequest
from tests.problems import problem

GB = 1e9
GENOME = Genome((FullyConnected(4),))


def needs(individual: Individual) -> Need:
    """Predict ten gigabytes for each number of an individual, and surely a quarter of them."""
    return Need(2.5 * GB * individual.id, 10 * GB * individual.id)


def place(individual: Individual, problem: object, limits: object) -> Result:
    """Return the worker's name as a remark; network 3 does not fit on the small one, whatever was predicted."""
    from distributed import get_worker

    worker = get_worker()
    if individual.id == 3 and worker.name == "small":
        return Result.failed("out_of_memory", "the device has no more", worker=worker.address)
    return Result(0.5, message=str(worker.name), worker=worker.address)


def worker(memory: float | None) -> dict[str, Any]:
    resources = {} if memory is None else {MEMORY: memory}
    return {"cls": Worker, "options": {"nthreads": 1, "resources": resources, "dashboard": False}}


@pytest.fixture
def client() -> Iterator[Client]:
    """Return a client of a small and a large worker."""
    scheduler = {"cls": Scheduler, "options": {"dashboard": False, "dashboard_address": "127.0.0.1:0"}}
    workers = {"small": worker(40 * GB), "large": worker(80 * GB)}
    with (
        SpecCluster(workers=workers, scheduler=scheduler, silence_logs=50) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def evaluated(client: Client, numbers: list[int], predict: Any = needs) -> tuple[dict[int, Result], list[str]]:
    dispatcher = Dispatcher(client, place, (None, Limits()), predict)
    dispatcher.worker_threads()
    for number in numbers:
        dispatcher.submit(EvaluationRequest(Individual(number, GENOME)))
    assert sorted(one.id for one in dispatcher.individuals) == sorted(numbers)
    results: dict[int, Result] = {}
    deadline = time.monotonic() + 150
    while dispatcher and time.monotonic() < deadline:
        results |= {individual.id: result for individual, result in dispatcher.completed(0.2)}
    dispatcher.close()
    return results, dispatcher.notes


def test_a_network_goes_to_a_worker_that_has_its_memory(client: Client) -> None:
    # 5, 6 and 7 need more than the small worker has; 20 may need more than any, and is tried on the largest
    results, notes = evaluated(client, [5, 6, 7, 20])
    assert {number: result.message for number, result in results.items()} == dict.fromkeys([5, 6, 7, 20], "large")
    assert notes == []


def test_a_network_that_no_worker_can_take_is_told_once_the_others_are_done(client: Client) -> None:
    results, _ = evaluated(client, [50, 5, 6])
    assert [*results][-1] == 50
    assert results[50].failure == "out_of_memory"
    assert results[50].message == (
        "not trained: it needs at least 125.0 GB by the estimate from its genome, and the largest worker has 80.0 GB "
        "for a training"
    )


def test_a_network_that_runs_out_of_memory_is_trained_once_more_on_the_largest_worker(client: Client) -> None:
    dispatcher = Dispatcher(client, place, (None, Limits()), needs)
    dispatcher.worker_threads()
    small = next(a for a, w in client.scheduler_info(n_workers=-1)["workers"].items() if w["name"] == "small")
    failed = Result.failed("out_of_memory", "the device has no more", worker=small)
    dispatcher.submit(EvaluationRequest(Individual(3, GENOME)))
    (one,) = dispatcher._in_flight.values()
    dispatcher._in_flight.clear()
    assert dispatcher._is_tried_with_more(one, failed)
    results = []
    deadline = time.monotonic() + 150
    while dispatcher and time.monotonic() < deadline:
        results += dispatcher.completed(0.2)
    assert [result.message for _, result in results] == ["large"]
    assert dispatcher.notes == ["network 3 ran out of memory with 40.0 GB; trained again where there are 80.0 GB"]
    assert not dispatcher._is_tried_with_more(one, failed)  # a second time it is the network's own result
    dispatcher.close()


def test_where_workers_declare_nothing_each_takes_all(client: Client) -> None:
    memory = WorkerMemory()
    memory.update({})
    assert memory.demand(Need(1e15, 1e15)) == 0.0
    assert memory.of("any") == 0.0


def test_networks_that_share_a_gpu_each_take_what_they_need_and_are_told_so(client: Client) -> None:
    dispatcher = Dispatcher(client, place, (None, Limits()), needs)
    dispatcher._memory = WorkerMemory(shared=True)
    dispatcher._memory.update({"one": 40 * GB})
    requests = []
    for number in (1, 20):
        one = InFlight(
            EvaluationRequest(Individual(number, GENOME), {"seed": 1}), need=needs(Individual(number, GENOME))
        )
        one.demand = dispatcher._memory.demand(one.need)
        requests.append(dispatcher._limited(one).arguments)
    assert requests[0] == {"seed": 1, "gpu_bytes": 10 * GB}
    assert dispatcher._memory.demand(Need(10 * GB, 60 * GB)) == 40 * GB  # the whole GPU
    dispatcher.close()


def test_the_largest_worker_is_waited_for_while_it_is_away() -> None:
    memory = WorkerMemory()
    memory.update({"small": 40 * GB, "large": 80 * GB})
    memory.update({"small": 40 * GB})  # the large one is started again
    assert memory.demand(Need(10 * GB, 60 * GB)) == 60 * GB


def test_the_prediction_is_that_of_the_cost_with_the_batch_of_the_genome() -> None:
    of = problem()
    one = Genome((Convolution(8), FullyConnected(16)))
    other = Genome((*one.genes, Training(batch_size=8 * of.budget.batch_size)))
    need, larger = (prediction(of)(Individual(0, genome)) for genome in (one, other))
    step = cost_of(one, of).memory_bytes(of.budget.batch_size)
    assert need.least == pytest.approx(step / 2.5)
    assert need.most == pytest.approx(0.9 * GB + 1.6 * step)
    assert larger.least > need.least
    nothing = Genome((Convolution(8, (99, 99), padding="valid"),))
    assert prediction(of)(Individual(0, nothing)) == Need()
