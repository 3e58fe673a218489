"""Islands of a run: their directories, their individuals' numbers, and the status that they give each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from menndl_dask.genome import Genome
from menndl_dask.individual import Individual
from menndl_dask.island import first_number, folder_of, folders_of, island_of, whole_run
from menndl_dask.island_status import IslandStatus
from menndl_dask.result import Result
from tests.spaces import Edge


def test_an_individual_belongs_to_the_island_that_numbered_it() -> None:
    for island in (0, 1, 12, 150):
        first = Individual(first_number(island), Genome((Edge(),)))
        last = Individual(first_number(island + 1) - 1, Genome((Edge(),)))
        assert island_of(first) == island_of(last) == island


def test_islands_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for island in (3, 120, 0, 20):
        folder_of(tmp_path, island).mkdir(parents=True)
    (tmp_path / "islands" / ".last").touch()
    assert list(folders_of(tmp_path)) == [0, 3, 20, 120]
    assert folders_of(tmp_path)[3] == folder_of(tmp_path, 3)
    assert {whole_run(folder) for folder in folders_of(tmp_path).values()} == {tmp_path}


def test_a_run_without_islands_is_whole(tmp_path: Path) -> None:
    assert folders_of(tmp_path) == {}
    assert whole_run(tmp_path) == tmp_path
    assert whole_run(tmp_path / "islands" / "mine") == tmp_path / "islands" / "mine"


def test_the_status_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert IslandStatus.read(tmp_path) is None
    emigrant = Individual(20000017, Genome((Edge("conv3"),) * 2), (20000003, 8), "crossover"), Result(0.5)
    status = IslandStatus(7, 2, 2, {"diverged": 1}, 0.5, 20000017, (emigrant,), 4)
    status.write(tmp_path)
    assert IslandStatus.read(tmp_path) == status


@pytest.mark.parametrize("text", ["", "{", "[]", '{"told": 1}', '{"emigrants": [], "unknown": 1}'])
def test_a_status_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "island.json").write_text(text)
    assert IslandStatus.read(tmp_path) is None
