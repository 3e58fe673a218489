"""Learning: noise is seldom taken for it, and evidence of it never for noise."""

from __future__ import annotations

import numpy as np

from menndl_dask.training.scoring.significance import PARTS, beyond_noise, shows_learning


def test_noise_seldom_passes() -> None:
    rng = np.random.default_rng(0)
    passed = [beyond_noise(rng.normal(0, 1, PARTS)) for _ in range(4000)]
    assert 0.03 < np.mean(passed) < 0.055  # Student's t with seven degrees of freedom: 0.043


def test_a_gain_of_a_few_standard_errors_passes() -> None:
    rng = np.random.default_rng(1)
    passed = [beyond_noise(rng.normal(2, 1, PARTS)) for _ in range(1000)]
    assert np.mean(passed) > 0.99


def test_one_kind_of_evidence_is_enough() -> None:
    nothing, something = np.zeros(4), np.array([0.2, 0.3, 0.25, 0.22])
    assert not shows_learning([nothing, -something, nothing])
    assert shows_learning([something, nothing, nothing])
    assert shows_learning([nothing, something, nothing])
    assert shows_learning([nothing, nothing, something])


def test_no_more_evidence_is_computed_than_needed() -> None:
    evidence = iter([np.zeros(4), np.ones(4), np.zeros(4)])
    assert shows_learning(evidence)
    assert len(list(evidence)) == 1


def test_what_is_not_a_number_says_nothing() -> None:
    assert not beyond_noise([np.nan, np.nan])
    assert not beyond_noise([])
    assert beyond_noise([np.nan, 0.5])
