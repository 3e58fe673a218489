"""Options: what is typed becomes a budget, limits and settings, and a mistake is told in words."""

from __future__ import annotations

import argparse

import pytest

from menndl_dask.errors import UserError
from menndl_dask.problem import Budget
from menndl_dask.search.options import Options, add_options


def _read(*words: str, **defaults: object) -> Options:
    parser = argparse.ArgumentParser()
    add_options(parser, **{"evaluations": 10, "epochs": 8, **defaults})
    return Options.read(parser.parse_args(words))


def test_a_scripts_own_budget_counts_where_the_user_gives_none() -> None:
    assert _read().budget == Budget(epochs=8)
    assert _read("--batch-size", "8").budget == Budget(epochs=8, batch_size=8)
    assert _read("--flops", "2e12").budget == Budget(flops=2e12)
    assert _read("--flops", "2e12", "--epochs", "50").budget == Budget(flops=2e12, epochs=50)


def test_how_a_budget_is_spent_is_an_option() -> None:
    words = ["--precision", "bfloat16", "--deterministic", "--backend", "jax", "--augment", "flip, shift=0.2,noise"]
    options = _read(*words)
    assert options.budget == Budget(epochs=8, precision="bfloat16", deterministic=True, backend="jax")
    assert options.augmentation == ("flip", "shift=0.2", "noise")
    assert _read().augmentation == ()


def test_early_stopping_can_be_turned_off() -> None:
    budget = _read("--no-early-stop").budget
    assert budget == Budget(epochs=8).without_early_stopping()
    assert (budget.early_stopping, budget.rungs) == (False, ())


def test_the_help_says_the_scripts_own_defaults() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, epochs=8, run="runs/mine")
    text = " ".join(parser.format_help().split())
    assert "passes over the training split (default: 8)" in text
    assert "(default: runs/mine)" in text
    assert "optimiser steps --seconds" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--precision", "half"], "budget: precision: expected one of float32, bfloat16, float16, got 'half'"),
        (["--flops", "0"], "budget: flops: expected a number > 0, got 0"),
        (["--backend", "tensorflw"], "budget: backend: .*; did you mean 'tensorflow'"),
        (["--seconds", "5", "--deterministic"], "expected epochs, steps or flops, got seconds"),
        (["--evaluations", "0"], "--evaluations: expected a number > 0, got 0"),
        (["--island", "1", "--islands", "2"], "--island: expected a number ≥ 0, and no --islands beside it, got 1"),
        (["--retrain", "-1"], "--retrain: expected a number ≥ 0, got -1"),
    ],
)
def test_a_mistake_is_told_in_words(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _read(*words)


def test_something_must_end_the_search() -> None:
    with pytest.raises(UserError, match="expected --evaluations or --hours"):
        _read(evaluations=None)


def test_a_recorded_command_with_a_removed_option_still_works_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert _read("--inherit").budget == _read().budget
    assert [record.getMessage().partition(" and")[0] for record in caplog.records] == ["--inherit was removed"]
