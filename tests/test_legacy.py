"""The weights that a run keeps for children: of whom may have some, and of nobody else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from menndl_dask.errors import UserError
from menndl_dask.individual import Individual
from menndl_dask.legacy import Legacies, legacies_of
from menndl_dask.result import Result
from tests.evaluations import SPACE

GENOME = SPACE.sample(np.random.default_rng(0))


class Few:
    """An evolution of which the test says who may become a parent."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = set(numbers)

    def breeders(self) -> set[int]:
        return self.numbers


def evaluated(legacies: Legacies, number: int, parents: tuple[int, ...] = (), fitness: float | None = 0.5) -> Path:
    """Have an evaluation begin and come home; return where its weights are."""
    individual = Individual(number, GENOME, parents)
    path = Path(legacies.arguments(individual)["weights"])
    if fitness is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("weights")
    legacies.tell(individual, Result(fitness) if fitness is not None else Result.failed("diverged"))
    return path


def names(run: Path) -> list[int]:
    return sorted(int(path.stem) for path in (run / "weights").glob("*.npz"))


def test_weights_go_when_their_network_can_have_no_more_children(tmp_path: Path) -> None:
    evolution = Few(0, 1, 2)
    legacies = Legacies(tmp_path, None, evolution)
    for number in range(3):
        evaluated(legacies, number)
    evolution.numbers = {1, 3}
    evaluated(legacies, 3, parents=(1,))
    evaluated(legacies, 4, fitness=None)
    assert names(tmp_path) == [1, 3]


def test_weights_stay_while_a_child_is_in_flight(tmp_path: Path) -> None:
    evolution = Few(0)
    legacies = Legacies(tmp_path, None, evolution)
    evaluated(legacies, 0)
    child = Individual(1, GENOME, (0,))
    assert legacies.arguments(child)["parents"] == {0: str(tmp_path / "weights" / "00000000.npz")}
    evolution.numbers = set()
    evaluated(legacies, 2)
    assert names(tmp_path) == [0]
    legacies.tell(child, Result(0.1))
    assert names(tmp_path) == []


def test_what_an_earlier_driver_has_left_is_found_and_what_nobody_needs_removed(tmp_path: Path) -> None:
    first = Legacies(tmp_path, None, Few(*range(6)))
    for number in range(6):
        evaluated(first, number)
    (tmp_path / "weights" / "00000009.npz.123.partial").write_text("half of it")
    evolution = Few(1, 2)
    second = Legacies(tmp_path, None, evolution)
    second.sweep([Individual(7, GENOME, (2, 4))])
    assert names(tmp_path) == [1, 2, 4]
    assert not list(tmp_path.glob("weights/*.partial"))
    evolution.numbers = {1}
    second.tell(Individual(7, GENOME, (2, 4)), Result(0.5))
    assert names(tmp_path) == [1]
    second.clear()
    assert not (tmp_path / "weights").exists()


def test_on_an_island_the_weights_of_a_migrant_are_those_at_its_home(tmp_path: Path) -> None:
    legacies = Legacies(tmp_path, 2, Few())
    child = Individual(20_000_005, GENOME, (20_000_001, 10_000_003))
    given = legacies.arguments(child)
    assert Path(given["weights"]) == tmp_path / "islands/02/weights/20000005.npz"
    assert Path(given["parents"][10_000_003]) == tmp_path / "islands/01/weights/10000003.npz"


def test_a_search_whose_networks_inherit_nothing_keeps_no_weights(tmp_path: Path) -> None:
    legacies = legacies_of(tmp_path, None, Few(0), is_used=False)
    legacies.sweep()
    assert legacies.arguments(Individual(0, GENOME)) == {}
    legacies.tell(Individual(0, GENOME), Result(0.5))
    assert not (tmp_path / "weights").exists()


def test_an_optimizer_that_does_not_know_who_may_become_a_parent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected an optimizer with a method breeders, such as Evolution, got object"):
        legacies_of(tmp_path, None, object(), is_used=True)
