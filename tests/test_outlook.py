"""Outlooks: which children the results known at one moment prefer."""

from __future__ import annotations

import gc
import weakref
from typing import cast

import numpy as np
import pytest

from menndl_dask.cost import cost_of
from menndl_dask.descriptor import Descriptor
from menndl_dask.genome import Genome
from menndl_dask.layers import Convolution, FullyConnected
from menndl_dask.objective import Objectives
from menndl_dask.outlook import Entry, Floats, Outlook, chosen
from menndl_dask.screening import Screening
from tests.entries import SPACE, entries
from tests.problems import PROBLEMS
from tests.spaces import SPACES, Edge


def test_what_is_chosen_is_half_the_best_and_otherwise_from_all_levels() -> None:
    given = entries(300)
    kept = chosen(given, 60)
    assert len(kept) == len({id(e) for e in kept}) == 60
    fitness = sorted((e.values[0] for e in given if e.values), reverse=True)
    held = sorted((e.values[0] for e in kept if e.values), reverse=True)
    assert held[:30] == fitness[:30]
    assert held[-1] == fitness[-1]


def test_a_better_child_promises_more() -> None:
    screening = Screening(SPACE)
    for entry in entries(120):
        screening.tell(entry)
    good, bad = Genome((Edge("conv3"),) * 8), Genome((Edge("none"),) * 8)
    outlook = screening.outlook
    assert outlook is not None
    points = np.stack([outlook.describe.kept(good), outlook.describe.kept(bad)])
    promise = outlook.promise(outlook.look(points), 0.0)
    assert promise[0] > promise[1] + 1.0


def promised_beginning_with(screening: Screening, *operations: str) -> Floats:
    rest = (Edge("conv3"),) * 5 + (Edge("skip"),) * 2
    outlook = screening.outlook
    assert outlook is not None
    points = np.stack([outlook.describe.kept(Genome((Edge(first), *rest))) for first in operations])
    return outlook.promise(outlook.look(points), 0.0)


def test_a_child_like_those_that_failed_promises_little() -> None:
    screening = Screening(SPACE)
    for entry in entries(160):
        failed = entry.genome.genes[0] == Edge("pool")
        screening.tell(Entry(entry.genome, None if failed else entry.values))
    promise = promised_beginning_with(screening, "skip", "pool")
    assert promise[0] > promise[1] + 0.5


def test_predictions_depend_on_the_results_only_not_on_when_somebody_looked() -> None:
    eager, late = Screening(SPACE), Screening(SPACE)
    given = entries(150, failing=6)
    describe = Descriptor(SPACE)
    points = np.stack([describe(e.genome) for e in given[:10]])
    flying = [e.genome for e in entries(160, failing=6)[150:]]
    seen = None
    for entry in given:
        eager.tell(entry)
        late.tell(entry)
        if eager.outlook is not None:
            seen = eager.outlook.look(points, seen)
            eager.outlook.promise(seen, 1.0, eager.outlook.expecting(flying))
    first, second = eager.outlook, late.outlook
    assert seen is not None and first is not None and second is not None
    assert first.look(points, seen) is seen  # nothing new is known
    expected = second.promise(second.look(points), 1.0, second.expecting(flying))
    assert (first.promise(seen, 1.0, first.expecting(flying)) == expected).all()


def test_networks_in_flight_are_seen_alike_whenever_somebody_looks_and_whoever_is_home_by_then() -> None:
    eager, late = Screening(SPACE), Screening(SPACE)
    given = [e.genome for e in entries(100)]
    for entry in entries(60):
        eager.tell(entry, given[60:90])
        late.tell(entry, given[60:90])
    first, second = eager.outlook, late.outlook
    assert first is not None and second is not None
    for k in range(10):  # one after the other comes home, and others begin
        first.expecting(given[60 + k : 90 + k])
    points = np.stack([first.describe.kept(genome) for genome in given[:10]])
    flying = [*given[70:95], given[62]]  # the last was not among the latest for a while
    expected = second.promise(second.look(points), 1.0, second.expecting(flying))
    assert (first.promise(first.look(points), 1.0, first.expecting(flying)) == expected).all()
    alone = Screening(SPACE)
    for entry in entries(60):
        alone.tell(entry)
    assert alone.outlook is not None
    apart = alone.outlook.promise(alone.outlook.look(points), 1.0, alone.outlook.expecting(flying))
    assert apart == pytest.approx(expected)


def test_what_was_prepared_is_what_would_be_computed_when_somebody_looks() -> None:
    prepared, late = Screening(SPACE), Screening(SPACE)
    flying = [e.genome for e in entries(80, failing=6)[60:]]
    for entry in entries(60, failing=6):
        prepared.tell(entry, flying)
        late.tell(entry, flying)
    first, second = prepared.outlook, late.outlook
    assert first is not None and second is not None
    assert [first.prepare() for _ in range(5)] == [True, True, True, False, False]
    points = np.stack([first.describe.kept(genome) for genome in flying[:10]])
    promise = first.promise(first.look(points), 1.0, first.expecting(flying))
    assert (promise == second.promise(second.look(points), 1.0, second.expecting(flying))).all()


def test_an_outlook_stays_what_it_was_when_more_is_told() -> None:
    screening, alone = Screening(SPACE), Screening(SPACE)
    given = entries(60)
    for entry in given[:30]:
        screening.tell(entry)
        alone.tell(entry)
    then, same = screening.outlook, alone.outlook
    for entry in given[30:]:
        screening.tell(entry)
    assert then is not None and same is not None and screening.outlook is not then
    points = np.stack([then.describe.kept(e.genome) for e in given[:10]])
    assert (then.promise(then.look(points), 1.0) == same.promise(same.look(points), 1.0)).all()


def test_a_cost_that_a_genome_tells_is_not_predicted() -> None:
    space = SPACES["classes of images"]
    screening = Screening(space, Objectives.of(["fitness", "parameters"], ["parameters <= 20000"]))
    rng = np.random.default_rng(0)
    for i in range(40):
        genome = space.sample(rng)
        parameters = cost_of(genome, PROBLEMS["classes of 2-D images"]).parameters
        screening.tell(Entry(genome, (float(i % 7), -float(parameters)), parameters <= 20000))
    small, large = Genome((Convolution(8), FullyConnected(8))), Genome((Convolution(64), FullyConnected(200)))
    outlook = screening.outlook
    assert outlook is not None
    points = np.stack([outlook.describe.kept(small), outlook.describe.kept(large)])
    known = outlook.describe.known_cost("parameters", points)
    assert known is not None
    assert round(known[0]) == cost_of(small, PROBLEMS["classes of 2-D images"]).parameters
    assert outlook.describe.known_cost("latency_ms", points) is None
    promise = outlook.promise(outlook.look(points), 0.0, weights=np.array([0.0, 1.0]))
    assert promise[0] > promise[1]
    assert promise[1] == -2.0  # breaks the hard constraint for certain


def test_children_like_those_that_broke_a_measured_constraint_promise_little() -> None:
    screening = Screening(SPACE, Objectives.of(["fitness"], ["latency_ms <= 2"]))
    for entry in entries(160):
        screening.tell(Entry(entry.genome, entry.values, entry.genome.genes[0] != Edge("pool")))
    promise = promised_beginning_with(screening, "skip", "pool")
    assert promise[0] > promise[1] + 0.5


def test_an_outlook_that_nobody_wants_any_more_is_freed_at_once() -> None:
    screening = Screening(SPACE)
    for entry in entries(30):
        screening.tell(entry)
    watched = weakref.ref(cast(Outlook, screening.outlook))
    gc.disable()  # it holds a megabyte: that must not wait for the collector
    try:
        screening.outlook = None
        assert watched() is None
    finally:
        gc.enable()
