"""A run as a sequence, as a table, as a front, and with units."""

from __future__ import annotations

from pathlib import Path

import pytest

from menndl_dask.errors import UserError
from menndl_dask.run.run import Run
from tests.runs import finished, made_up


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished(tmp_path_factory.mktemp("run") / "stem", made_up(24))


def test_evaluations_have_a_length_and_an_index(run: Run) -> None:
    each = [individual.id for individual, _ in run.evaluations]
    assert len(run.evaluations) == len(each) == 24
    assert run.evaluations[3][0].id == each[3]
    assert run.evaluations[-1][0].id == each[-1]
    assert [individual.id for individual, _ in run.evaluations[2:4]] == each[2:4]
    assert bool(run.evaluations)
    with pytest.raises(IndexError, match="evaluation 24: the run has 24"):
        run.evaluations[24]


def test_a_table_has_a_row_for_each_evaluation(run: Run) -> None:
    table = run.to_dataframe()
    assert list(table.index) == [individual.id for individual, _ in run.evaluations]
    best, result = run.best()
    assert table.fitness.idxmax() == best.id
    assert table.parameters[best.id] == result.costs["parameters"]
    assert table.seconds_train[best.id] == result.times["train"]
    assert table.failure[best.id] == ""


def test_the_front_holds_what_no_other_beats(run: Run) -> None:
    front = run.front()
    fitness = [result.fitness or 0.0 for _, result in front]
    weights = [result.costs["parameters"] for _, result in front]
    assert fitness == sorted(fitness, reverse=True)
    assert weights == sorted(weights, reverse=True)
    assert front[0][0].id == run.best().individual.id
    assert len(run.front(["fitness"])) == 1
    with pytest.raises(UserError, match="objectives: expected a list of words"):
        run.front("fitness")


def test_tables_say_their_units(run: Run, tmp_path: Path) -> None:
    data = run.to_xarray()
    units = dict(zip(data.cost.values, data.unit.values, strict=True))
    assert (units["latency_ms"], units["parameters"]) == ("ms", "")
    assert data.times.attrs == {"long_name": "time of each phase", "units": "s"}
    import xarray as xr

    assert xr.open_zarr(run.write_snapshot(), consolidated=False).times.attrs["units"] == "s"
