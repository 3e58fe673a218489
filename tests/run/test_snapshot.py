"""A run as xarray and Zarr."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from menndl_dask.genome.genome import Genome
from menndl_dask.run import snapshot
from menndl_dask.run.run import Run
from tests.runs import finished, made_up
from tests.stories import STEM


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return finished(tmp_path, made_up(12)[::-1])


def test_every_evaluation_is_there_with_fitness_costs_times_curve_and_lineage(run: Run) -> None:
    dataset = run.to_xarray()
    evaluations = list(run.evaluations)
    assert dataset.sizes["evaluation"] == 12
    assert dataset.sizes["epoch"] == 10
    assert dataset.objective.values.tolist() == list(STEM.objectives)
    for place, (individual, result) in enumerate(evaluations):
        row = dataset.isel(evaluation=place)
        assert int(row.id) == individual.id
        assert str(row.failure.item()) == (result.failure or "")
        assert Genome.from_dict(json.loads(row.genome.item())) == individual.genome
        assert row.key.item() == individual.genome.key
        assert [p for p in row.parents.values.tolist() if p >= 0] == list(individual.parents)
        assert row.times.sel(phase="total") == result.times["total"]
        np.testing.assert_array_equal(row.fitness, np.nan if result.fitness is None else result.fitness)
        np.testing.assert_array_equal(row.costs.sel(cost="parameters"), result.costs.get("parameters", np.nan))
        curve = [point["val_loss"] for point in result.curve]
        np.testing.assert_array_equal(row.curves.sel(measure="val_loss").values[: len(curve)], curve)
    told = (dataset.told_at.values - np.datetime64(0, "s")) / np.timedelta64(1, "s")
    np.testing.assert_allclose(told, [run.told_at[i.id] for i, _ in evaluations], atol=1e-3)


def test_the_snapshot_is_read_back_as_it_is(run: Run) -> None:
    with xr.open_zarr(run.write_snapshot(), consolidated=False) as read:
        xr.testing.assert_equal(read.load(), run.to_xarray())


def test_a_long_run_is_written_in_blocks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_BLOCK", 5)
    with xr.open_zarr(run.write_snapshot(), consolidated=False) as read:
        assert read.fitness.encoding["chunks"] == (5,)
        xr.testing.assert_equal(read.load(), run.to_xarray())


def test_a_snapshot_takes_the_place_of_the_one_before(run: Run) -> None:
    (run.path / ".run.zarr.1").mkdir()  # of a killed driver
    run.write_snapshot()
    run.write_snapshot()
    assert sorted(path.name for path in run.path.iterdir()) == [".lock", "journal.jsonl", "run.yaml", "run.zarr"]


def test_a_run_without_evaluations_is_an_empty_dataset(tmp_path: Path) -> None:
    run = finished(tmp_path, [])
    assert run.to_xarray().sizes["evaluation"] == 0
    with xr.open_zarr(run.write_snapshot(), consolidated=False) as read:
        assert read.sizes["evaluation"] == 0


def test_the_examples_of_the_documentation_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(tmp_path / "runs" / "stem", made_up(12))
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "runs.md").read_text(encoding="utf-8")
    namespace: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(block, namespace)
    assert namespace["curve"].sizes == {"epoch": 10}
    assert namespace["by_operator"].sizes == {"origin": 2}
