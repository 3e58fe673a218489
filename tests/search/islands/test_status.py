"""The status of an island, as other islands read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.result import Result
from menndl_dask.search.islands.status import IslandStatus
from tests.spaces import Edge


def test_the_status_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert IslandStatus.read(tmp_path) is None
    emigrant = Individual(20000017, Genome((Edge("conv3"),) * 2), (20000003, 8), "crossover"), Result(0.5)
    status = IslandStatus(7, 2, 2, {"diverged": 1}, 0.5, 20000017, (emigrant,), 4)
    status.write(tmp_path)
    assert IslandStatus.read(tmp_path) == status


def test_a_status_of_version_0_1_0_is_read(tmp_path: Path) -> None:
    (tmp_path / "island.json").write_text('{"told": 7, "workers": 2, "emigrants": []}')
    assert IslandStatus.read(tmp_path) == IslandStatus(results=7, workers=2)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"told": 1}', '{"emigrants": [], "unknown": 1}'])
def test_a_status_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "island.json").write_text(text)
    assert IslandStatus.read(tmp_path) is None
