"""The benchmark of early stopping: replayed trainings end where a threshold says so, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.early_stopping import Rule, main, replayed
from menndl_dask.result import Result


def trained(number: int) -> Result:
    """Return a training of nine seconds; the curves of any two never cross."""
    quality = (number * 37 % 50) / 50
    curve = tuple({"share": n / 9, "seconds": float(n), "fitness": quality * n / 9} for n in range(1, 10))
    return Result(quality, curve=curve, metrics={"loss": 1 - quality})


RESULTS = [trained(number) for number in range(50)]


def test_without_a_rule_every_network_is_trained_to_its_end() -> None:
    outcome = replayed(RESULTS, Rule("none"), workers=4)
    assert (outcome.saved, outcome.lost, outcome.best) == (0, 0, 0.98)
    assert outcome.best_five == pytest.approx(0.94)


@pytest.mark.parametrize("extrapolate", [False, True])
def test_where_curves_never_cross_time_is_saved_and_none_of_the_best_is_lost(extrapolate: bool) -> None:
    rule = Rule("rungs", (0.33, 0.66), 1.0 if extrapolate else 0.5, extrapolate)
    outcome = replayed(RESULTS, rule, workers=4)
    assert outcome.lost == 0
    assert outcome.best_five == pytest.approx(0.94)
    assert 0.15 < outcome.saved < 0.6


def test_what_has_learnt_nothing_ends_at_the_first_rung() -> None:
    outcome = replayed(RESULTS, Rule("learnt", (0.33, 0.66), constant=0.098), workers=4)
    assert outcome.saved == pytest.approx(15 / 50 * 6 / 9)


def test_kept_results_are_replayed_without_a_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "curves.jsonl"
    kept.write_text("".join(json.dumps(result.to_dict()) + "\n" for result in RESULTS))
    assert main(["--keep", str(kept), "--orders", "2", "--random", "30"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("All: 50 networks, 7 of which had learnt nothing at the end; fitness: best 0.9800")
    assert text.count("| none | 0 % | 0.00 |") == text.count("| **the default** |") == 2
