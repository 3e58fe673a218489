"""Islands of a run: their directories, their individuals' numbers, and the status that they give each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from menndl_dask.errors import RunError
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.run.layout import first_number, folder_of, folders_of, island_of, whole_run
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


@pytest.mark.parametrize("name", ["islands", "islands/00"])
def test_a_link_in_place_of_islands_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere" / "00").mkdir(parents=True)
    link = tmp_path / "run" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=f"{name}: expected a folder of the run, got a symbolic link"):
        folders_of(tmp_path / "run")
