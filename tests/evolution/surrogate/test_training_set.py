"""The training set: what is remembered of all results, and when the model is fitted anew."""

from __future__ import annotations

import numpy as np
import pytest

from menndl_dask.evolution.surrogate.training_set import TrainingSet, _spread
from menndl_dask.objective import Objectives
from tests.entries import SPACE, observations

ONE = np.ones(1)


def test_what_is_chosen_is_half_the_best_and_otherwise_from_all_levels() -> None:
    given = observations(300)
    chosen = _spread(given, 60)
    assert len(chosen) == len({id(o) for o in chosen}) == 60
    fitness = sorted((o.values[0] for o in given if o.values), reverse=True)
    held = sorted((o.values[0] for o in chosen if o.values), reverse=True)
    assert held[:30] == fitness[:30]
    assert held[-1] == fitness[-1]


def test_it_is_bounded_and_keeps_the_best_and_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menndl_dask.evolution.surrogate.training_set._STORED", 600)
    training_set, given = TrainingSet(SPACE, Objectives()), observations(2000, failing=5)
    for observation in given:
        training_set.add(observation)
        assert len(training_set.observations) <= 600
    best = max((o for o in given if o.values is not None), key=lambda o: o.values or ())
    assert best.values in [o.values for o in training_set.observations]
    assert training_set.observations[-50:] == given[-50:]
    assert any(o.values is None for o in training_set.observations)


def test_without_a_few_successes_nothing_is_predicted() -> None:
    training_set = TrainingSet(SPACE, Objectives())
    for observation in observations(40, failing=1):
        training_set.add(observation)
    assert training_set.model() is None


def test_predictions_depend_on_the_results_only_not_on_when_a_model_was_asked_for_before() -> None:
    eager, late = TrainingSet(SPACE, Objectives()), TrainingSet(SPACE, Objectives())
    given = observations(150, failing=6)
    pending = [o.genome for o in observations(160, failing=6)[150:]]
    points = eager.features.of([o.genome for o in given[:10]])
    for observation in given:
        eager.add(observation)
        late.add(observation)
        model = eager.model(pending)
        if model is not None:
            model.predict(points)
    first, second = eager.model(pending), late.model(pending)
    assert first is not None and second is not None
    assert (first.acquisition(points, 1.0, ONE) == second.acquisition(points, 1.0, ONE)).all()


def test_the_more_is_known_the_less_often_the_kernel_is_learned_but_every_result_counts_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training_set = TrainingSet(SPACE, Objectives())
    learned: list[int] = []

    def counted(*given: object) -> object:
        learned.append(training_set._added)
        return learn(*given)  # type: ignore[arg-type]

    from menndl_dask.evolution.surrogate.training_set import learn_kernel as learn

    monkeypatch.setattr("menndl_dask.evolution.surrogate.training_set.learn_kernel", counted)
    *given, last = observations(110)
    for observation in given:
        training_set.add(observation)
        training_set.model()
    assert learned[:4] == [8, 9, 10, 11]
    assert learned[-1] - learned[-2] > 3
    before = training_set.model()
    training_set.add(last)
    after = training_set.model()
    assert before is not None and after is not None
    points = training_set.features.of([last.genome])
    assert after.predict(points).std[0] < before.predict(points).std[0]
