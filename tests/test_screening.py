"""Screening: what is remembered of all results, and which children it prefers."""

from __future__ import annotations

import numpy as np

from menndl_dask.cost import cost_of
from menndl_dask.genome import Genome
from menndl_dask.layer import Convolution, FullyConnected
from menndl_dask.objective import Objectives
from menndl_dask.screening import Archive, Entry, Screening, chosen
from menndl_dask.space import SearchSpace
from tests.problems import PROBLEMS
from tests.spaces import SPACES, Edge

SPACE = SearchSpace.slots([Edge] * 8)


def entries(number: int, *, failing: int = 0) -> list[Entry]:
    rng = np.random.default_rng(0)
    found = []
    for i in range(number):
        genome = SPACE.sample(rng)
        failed = failing and i % failing == 0
        found.append(Entry(genome, None if failed else (score(genome),)))
    return found


def score(genome: Genome) -> float:
    return float(sum(g.operation == "conv3" for g in genome.genes))  # type: ignore[attr-defined]


def test_an_archive_is_bounded_and_keeps_the_best_and_the_latest() -> None:
    archive, given = Archive(limit=400), entries(2000, failing=5)
    for entry in given:
        archive.add(entry)
        assert len(archive.entries) <= 400
    best = max((e for e in given if e.values is not None), key=lambda e: e.values or ())
    assert best.values in [e.values for e in archive.entries]
    assert archive.entries[-50:] == given[-50:]
    assert any(e.values is None for e in archive.entries)


def test_what_is_chosen_is_half_the_best_and_otherwise_from_all_levels() -> None:
    given = entries(300)
    kept = chosen(given, 60)
    assert len(kept) == len({id(e) for e in kept}) == 60
    fitness = sorted((e.values[0] for e in given if e.values), reverse=True)
    held = sorted((e.values[0] for e in kept if e.values), reverse=True)
    assert held[:30] == fitness[:30]
    assert held[-1] == fitness[-1]


def test_without_a_few_successes_nothing_is_predicted() -> None:
    screening = Screening(SPACE)
    for entry in entries(40, failing=1):
        screening.tell(entry)
    assert not screening.ready


def test_a_better_child_promises_more() -> None:
    screening = Screening(SPACE)
    for entry in entries(120):
        screening.tell(entry)
    good, bad = Genome((Edge("conv3"),) * 8), Genome((Edge("none"),) * 8)
    points = np.stack([screening.point(good), screening.point(bad)])
    promise = screening.promise(screening.look(points), 0.0)
    assert promise[0] > promise[1] + 1.0


def test_a_child_like_those_that_failed_promises_little() -> None:
    screening = Screening(SPACE)
    for entry in entries(160):
        failed = entry.genome.genes[0] == Edge("pool")
        screening.tell(Entry(entry.genome, None if failed else entry.values))
    rest = (Edge("conv3"),) * 5 + (Edge("skip"),) * 2
    points = np.stack([screening.point(Genome((Edge(first), *rest))) for first in ("skip", "pool")])
    promise = screening.promise(screening.look(points), 0.0)
    assert promise[0] > promise[1] + 0.5


def test_predictions_depend_on_the_results_only_not_on_when_somebody_asked() -> None:
    eager, late = Screening(SPACE), Screening(SPACE)
    given = entries(150, failing=6)
    points = np.stack([eager.point(e.genome) for e in given[:10]])
    flying = [e.genome for e in entries(160, failing=6)[150:]]
    seen = None
    for entry in given:
        eager.tell(entry)
        late.tell(entry)
        if eager.ready:
            seen = eager.look(points, seen)
            eager.promise(seen, 1.0, eager.expecting(flying))
    assert seen is not None
    assert eager.look(points, seen) is seen  # nothing new is known
    expected = late.promise(late.look(points), 1.0, late.expecting(flying))
    assert (eager.promise(seen, 1.0, eager.expecting(flying)) == expected).all()


def test_a_cost_that_a_genome_tells_is_not_predicted() -> None:
    space = SPACES["classes of images"]
    screening = Screening(space, Objectives.of(["fitness", "parameters"], ["parameters <= 20000"]))
    rng = np.random.default_rng(0)
    for i in range(40):
        genome = space.sample(rng)
        parameters = cost_of(genome, PROBLEMS["classes of 2-D images"]).parameters
        screening.tell(Entry(genome, (float(i % 7), -float(parameters)), parameters <= 20000))
    small, large = Genome((Convolution(8), FullyConnected(8))), Genome((Convolution(64), FullyConnected(200)))
    points = np.stack([screening.point(small), screening.point(large)])
    known = screening.describe.known_cost("parameters", points)
    assert known is not None
    assert round(known[0]) == cost_of(small, PROBLEMS["classes of 2-D images"]).parameters
    assert screening.describe.known_cost("latency_ms", points) is None
    promise = screening.promise(screening.look(points), 0.0, weights=np.array([0.0, 1.0]))
    assert promise[0] > promise[1]
    assert promise[1] == -2.0  # breaks the hard constraint for certain


def test_children_like_those_that_broke_a_measured_constraint_promise_little() -> None:
    screening = Screening(SPACE, Objectives.of(["fitness"], ["latency_ms <= 2"]))
    for entry in entries(160):
        screening.tell(Entry(entry.genome, entry.values, entry.genome.genes[0] != Edge("pool")))
    rest = (Edge("conv3"),) * 5 + (Edge("skip"),) * 2
    points = np.stack([screening.point(Genome((Edge(first), *rest))) for first in ("skip", "pool")])
    promise = screening.promise(screening.look(points), 0.0)
    assert promise[0] > promise[1] + 0.5
