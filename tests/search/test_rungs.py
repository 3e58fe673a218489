"""PruningRules: who is clearly behind is stopped, who may still come out first is not."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.objective import Objectives
from menndl_dask.problem import Budget
from menndl_dask.result import Result
from menndl_dask.search.rungs import PruningRules, fitness_at
from menndl_dask.training.request import Threshold

SHARES = (0.25, 0.5, 0.75, 1.0)


def budget(**settings: object) -> Budget:
    return Budget(**{"epochs": 4, "rungs": (0.5,), "rung_quantile": 0.5, **settings})


def trained(at_rung: float, end: float | None, **costs: float) -> Result:
    """Return the result of a network with that fitness at half of its budget; without an end it was stopped there."""
    fitness = (at_rung / 2, at_rung, None if end is None else (at_rung + end) / 2, end)
    curve = tuple({"share": s, "fitness": f} for s, f in zip(SHARES, fitness, strict=True) if f is not None)
    if end is None:
        return Result.failed("pruned", curve=curve, metrics={"fitness": at_rung}, costs=costs)
    return Result(end, curve=curve, costs=costs)


def told(rungs: PruningRules, *results: Result) -> PruningRules:
    for result in results:
        rungs.tell(result)
    return rungs


def test_nobody_is_compared_with_a_handful() -> None:
    rungs = told(PruningRules(budget()), *(trained(i / 10, i / 10) for i in range(11)))
    assert rungs.thresholds() == ()
    assert len(told(rungs, trained(0.5, 0.6)).thresholds()) == 1


def test_the_given_share_of_the_networks_would_have_passed() -> None:
    rules = PruningRules(budget(rung_quantile=0.3, extrapolate=False))
    rungs = told(rules, *(trained(i / 100, i / 100) for i in range(100)))
    [threshold] = rungs.thresholds()
    assert sum(not threshold.stops(i / 100, {}) for i in range(100)) == 30
    assert threshold.why == "of 100 networks before it, 30 % did better here"


def test_networks_that_were_stopped_at_a_rung_count_there_and_others_that_failed_do_not() -> None:
    rungs = PruningRules(budget(extrapolate=False))
    told(rungs, *(trained(0.8, 0.9) for _ in range(6)), *(trained(0.2, None) for _ in range(6)))
    [threshold] = rungs.thresholds()
    assert threshold.fitness == pytest.approx(0.5)
    lost = Result.failed("timed_out", curve=({"share": 0.5, "fitness": 0.1},))
    assert told(rungs, *[lost] * 20).thresholds() == (threshold,)


def test_the_fitness_at_a_rung_is_that_of_the_first_look_past_it() -> None:
    curve = [{"share": 0.3, "fitness": 0.1}, {"share": 0.6, "fitness": 0.2}, {"share": 1.0, "fitness": 0.3}]
    assert [fitness_at(curve, share) for share in (0.3, 0.31, 0.61)] == [0.1, 0.2, 0.3]
    assert fitness_at(curve[:1], 0.5) is None
    assert fitness_at([{"epoch": 1.0, "fitness": 0.1}], 0.5) is None


def test_from_where_nobody_has_come_near_the_best_few_a_network_is_out_of_reach() -> None:
    rungs = PruningRules(budget(rung_quantile=1))
    told(rungs, *(trained(i / 100, i / 100 + 0.2) for i in range(60)))
    [threshold] = rungs.thresholds()
    # the fifth best stood at 0.55; a neighbourhood of twelve around what stood at 0.49 does not reach that far
    assert threshold.fitness == pytest.approx(0.5)
    assert "none came near the best 5 (0.75)" in threshold.why


def test_one_initial_network_is_enough_to_stop_what_is_far_behind_it() -> None:
    rungs = PruningRules(budget(rungs=(0.5, 0.75)))  # at the second rung noise would decide
    rungs.tell(trained(0.7, 0.8), is_initial=True)
    [threshold] = rungs.thresholds()
    assert (threshold.share, threshold.fitness) == (0.5, pytest.approx(0.6))
    assert threshold.why.startswith("the initial network had 0.7 here and 0.8 at the end; to be as good, this one")
    rungs.tell(trained(0.75, 0.78), is_initial=True)  # a worse one changes nothing
    assert rungs.thresholds() == (threshold,)
    rungs.tell(trained(0.85, 0.84), is_initial=True)  # one that lost on the way: what stood as high goes on
    assert [each.fitness for each in rungs.thresholds()] == [pytest.approx(0.85)]


def test_no_random_network_and_no_failed_initial_one_is_taken_as_a_measure() -> None:
    rungs = told(PruningRules(budget()), trained(0.7, 0.8))
    rungs.tell(trained(0.7, None), is_initial=True)
    assert rungs.thresholds() == ()


def test_a_network_that_costs_less_than_the_initial_one_goes_on() -> None:
    rungs = PruningRules(budget(), Objectives(("fitness", "parameters")))
    rungs.tell(trained(0.7, 0.8, parameters=1e4), is_initial=True)
    [threshold] = rungs.thresholds()
    assert threshold.stops(0.5, {"parameters": 2e4})
    assert not threshold.stops(0.5, {"parameters": 9e3})


def test_a_run_in_which_late_starters_have_won_stops_nobody_whom_it_could_resemble() -> None:
    rungs = PruningRules(budget(rung_quantile=1))
    told(rungs, *(trained(i / 100, 0.9 if i % 10 == 0 else i / 100) for i in range(60)))
    assert rungs.thresholds() == ()


def test_each_rule_can_be_turned_off() -> None:
    results = [trained(i / 100, i / 100 + 0.2) for i in range(60)]
    whys = [
        [threshold.why for threshold in told(PruningRules(budget(**off)), *results).thresholds()]
        for off in (
            {},
            {"rung_quantile": 1},
            {"extrapolate": False},
            {"rungs": ()},
            {"rung_quantile": 1, "extrapolate": False},
        )
    ]
    assert [len(why) for why in whys] == [1, 1, 1, 0, 0]
    assert "none came near" in whys[0][0]  # the higher threshold of the two
    assert told(PruningRules(budget().without_early_stopping()), *results).thresholds() == ()


def test_with_several_objectives_what_is_the_cheapest_of_its_kind_goes_on() -> None:
    rungs = PruningRules(budget(), Objectives(("fitness", "parameters")))
    rng = np.random.default_rng(0)
    for size in rng.permutation(80):
        rungs.tell(trained(size / 200, size / 100, parameters=float(size)))
    thresholds = rungs.thresholds()

    def is_stopped(fitness: float, size: float) -> bool:
        return any(threshold.stops(fitness, {"parameters": size, "latency_ms": 1.0}) for threshold in thresholds)

    assert not is_stopped(0.0, 0.0)
    assert not is_stopped(0.35, 70.0)
    assert is_stopped(0.05, 70.0)
    assert not is_stopped(0.05, 11.0)
    assert not any(threshold.stops(0.0, {}) for threshold in thresholds)  # costs that are not known are no reason


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(1, 9)), min_size=30, max_size=60))
def test_a_network_on_the_front_that_stood_as_well_as_it_ended_is_not_out_of_reach(
    networks: list[tuple[float, float, int]],
) -> None:
    rungs = PruningRules(budget(rung_quantile=1), Objectives(("fitness", "parameters")))
    for at_rung, end, size in networks:
        rungs.tell(trained(at_rung, end, parameters=float(size)))
    for at_rung, end, size in networks:
        dominated = any(e >= end and s <= size and (e, s) != (end, size) for _, e, s in networks)
        if not dominated:
            assert not any(threshold.stops(at_rung, {"parameters": float(size)}) for threshold in rungs.thresholds())


def test_what_is_known_only_at_the_end_stops_nobody() -> None:
    for names in (("fitness", "train_seconds"), ("fitness", "my_metric"), ("parameters",)):
        rungs = PruningRules(budget(), Objectives(names))
        costs = {"train_seconds": 1.0, "my_metric": 2.0, "parameters": 3.0}
        assert told(rungs, *(trained(i / 100, i / 100, **costs) for i in range(60))).thresholds() == ()


def test_a_network_that_breaks_a_hard_constraint_is_nobodys_rival() -> None:
    results = [trained(0.9, 0.9, latency_ms=5.0) for _ in range(40)]
    results += [trained(i / 100, i / 100, latency_ms=1.0) for i in range(40)]
    [threshold] = told(PruningRules(budget(), Objectives.of(("fitness",), ("latency_ms <= 2",))), *results).thresholds()
    assert threshold.fitness < 0.4


def test_memory_is_bounded_and_a_replay_gives_the_same_bars() -> None:
    rng = np.random.default_rng(1)
    results = [trained(float(f), float(f) + 0.1 * float(g)) for f, g in rng.random((2500, 2))]
    first, second = told(PruningRules(budget()), *results), told(PruningRules(budget()), *results)
    assert first.thresholds() == second.thresholds()
    assert len(pickle.dumps(first.thresholds())) < 500
    assert len(pickle.dumps(first)) < 100_000
    assert len(pickle.dumps(told(first, *results))) < 100_000


def test_bars_travel_in_a_few_bytes_with_several_objectives_too() -> None:
    rungs = PruningRules(budget(rungs=(0.25, 0.5)), Objectives(("fitness", "parameters", "latency_ms")))
    rng = np.random.default_rng(2)
    told(rungs, *(trained(f, f + 0.1, parameters=1e5 * p, latency_ms=t) for f, p, t in rng.random((500, 3)).tolist()))
    assert 0 < len(rungs.thresholds()) <= 2 * 48
    assert len(pickle.dumps(rungs.thresholds())) < 20_000


def test_a_bar_stops_what_is_below_it() -> None:
    threshold = Threshold(0.5, 0.8, "why")
    assert threshold.stops(0.79, {})
    assert not threshold.stops(0.8, {})
