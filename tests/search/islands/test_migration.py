"""Migration: islands share a budget, and take in each other's best networks without training them again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from menndl_dask.errors import RunError, UserError
from menndl_dask.evolution.evolution import Evolution
from menndl_dask.problem import Limits
from menndl_dask.result import Result
from menndl_dask.run.history import replay
from menndl_dask.run.layout import first_number, folder_of, island_of
from menndl_dask.run.progress import Counts
from menndl_dask.run.recorder import Recorder
from menndl_dask.run.run import Run
from menndl_dask.run.settings import Settings, frozen_settings
from menndl_dask.search.islands.migration import Migration, prepare_run, with_migrants
from menndl_dask.search.islands.status import IslandStatus
from tests.spaces import SPACES, toy_result

SPACE = SPACES["a sequence"]


class Island:
    """An island without workers, whose evaluations are done where it stands."""

    def __init__(self, run: Path, number: int) -> None:
        self.evolution = Evolution(SPACE, seed=3, first=first_number(number))
        self.recorder = Recorder(folder_of(run, number))
        self.recorder.freeze(settings())
        self.migration = Migration(run, number, self.evolution, self.recorder, every=25, count=3)
        self.counts = Counts(0.0, asked=1000, workers=1)

    def search(self, count: int) -> None:
        for _ in range(count):
            individual = self.evolution.ask()
            self.recorder.asked([individual])
            result = toy_result(individual)
            self.recorder.completed([(individual, result)])
            self.evolution.tell(individual, result)
            self.counts.add(individual, result)

    def exchange(self, now: float, in_flight: int = 0) -> int:
        return self.migration.exchange(self.counts, in_flight, now)


def settings(seed: int = 3) -> Settings:
    return frozen_settings(None, SPACE, seed, Limits(), {"arguments": ["search"]})


@pytest.fixture
def islands(tmp_path: Path) -> Iterator[list[Island]]:
    with ExitStack() as stack:
        prepare_run(tmp_path, 0, settings())
        found = [Island(tmp_path, number) for number in range(3)]
        for island in found:
            stack.enter_context(island.recorder)
        yield found


# --- evolution ------------------------------------------------------------------------------------------------------


def test_a_migrant_breeds_and_is_never_asked_for() -> None:
    first, second = (Evolution(SPACE, seed=1, first=first_number(number)) for number in range(2))
    migrant = first.ask()
    second.add_migrant(migrant, Result(1e6))
    assert second.has_seen(migrant.genome)
    assert second.best()[0] == migrant
    children = []
    for _ in range(60):
        children.append(second.ask())
        second.tell(children[-1], toy_result(children[-1]))
    assert [child.id for child in children] == list(range(first_number(1), first_number(1) + 60))
    assert any(migrant.id in child.parents for child in children)
    assert migrant.genome.key not in {child.genome.key for child in children}


def test_a_migrant_that_comes_twice_counts_once() -> None:
    evolution = Evolution(SPACE, first=first_number(1))
    migrant = Evolution(SPACE).ask()
    evolution.add_migrant(migrant, Result(0.5))
    evolution.add_migrant(migrant, Result(0.9))
    assert len(evolution.population) == 1
    assert evolution.best()[1].fitness == 0.5


def test_only_the_best_that_were_bred_here_emigrate() -> None:
    evolution = Evolution(SPACE, first=first_number(1))
    own = evolution.ask(6)
    for rank, individual in enumerate(own):
        evolution.tell(individual, Result(rank / 10))
    evolution.add_migrant(Evolution(SPACE, seed=5).ask(), Result(0.9))
    assert [individual for individual, _ in evolution.emigrants(3)] == own[:2:-1]


def test_islands_of_one_seed_propose_different_networks() -> None:
    each = [Evolution(SPACE, seed=1, first=first_number(number)).ask(20) for number in range(2)]
    assert not {one.genome.key for one in each[0]} >= {one.genome.key for one in each[1]}


# --- exchange -------------------------------------------------------------------------------------------------------


def test_islands_take_in_the_best_of_another_after_some_results(islands: list[Island], tmp_path: Path) -> None:
    first, second, third = islands
    for island in islands:
        island.search(24)
        assert island.exchange(0.0) == 0
    first.search(1)
    assert first.exchange(1.0) == 3
    best = max((r.fitness, -i.id) for i, r in second.evolution.emigrants(1) if r.fitness is not None)
    taken = [(i, r) for i, r in replay(tmp_path / "islands/00/journal.jsonl") if r is not None and island_of(i) == 1]
    assert (taken[0][1].fitness, -taken[0][0].id) == best
    assert first.exchange(2.0) == 0
    first.search(25)
    assert first.exchange(3.0) == 3  # of the next one in turn
    assert [run.migrations for run in Run(tmp_path).islands.values()] == [6, 0, 0]
    assert third.migration.claimed(3.0) == 24 + 24


def test_what_is_known_is_not_taken_in(islands: list[Island]) -> None:
    first, second, _ = islands
    second.search(25)
    second.exchange(0.0)
    for individual, result in second.evolution.emigrants(3):
        first.evolution.add_migrant(individual, result)
    first.search(25)
    assert first.exchange(1.0) == 0


def test_a_replayed_island_proposes_the_same_children(islands: list[Island], tmp_path: Path) -> None:
    for number in range(52):
        for island in islands:
            island.search(1)
            island.exchange(float(number))
    lived = islands[1].evolution
    replayed = Evolution(SPACE, seed=3, first=first_number(1))
    in_flight, migrants = set(), 0
    for individual, result in islands[1].recorder.history():
        if result is None:
            in_flight.add(individual.id)
            replayed.recall(individual)
        elif individual.id in in_flight:
            replayed.tell(individual, result)
        else:
            replayed.add_migrant(individual, result)
            migrants += 1
    assert migrants > 3
    assert [lived.ask() for _ in range(20)] == [replayed.ask() for _ in range(20)]


def test_what_flies_elsewhere_is_claimed_until_that_island_falls_silent(islands: list[Island]) -> None:
    first, second, _ = islands
    second.search(5)
    second.exchange(0.0, in_flight=4)
    first.exchange(0.0)
    assert first.counts.elsewhere == 5
    assert first.migration.claimed(0.0) == 9
    second.exchange(10.0, in_flight=4)  # nothing new, but a sign of life
    first.exchange(10.0)
    assert first.migration.claimed(25.0) == 9
    first.exchange(31.0)
    assert first.migration.claimed(31.0) == 5
    second.exchange(40.0, in_flight=3)
    first.exchange(40.0)
    assert first.migration.claimed(40.0) == 8
    second.migration.announce_end(second.counts, 41.0)
    first.exchange(41.0)
    assert first.migration.claimed(41.0) == 5


def test_what_no_worker_is_there_for_is_not_claimed(islands: list[Island]) -> None:
    islands[1].counts.workers = 0
    islands[1].exchange(0.0, in_flight=4)
    islands[0].exchange(0.0)
    assert islands[0].migration.claimed(0.0) == 0


def test_an_island_that_cannot_tell_the_others_searches_on(
    islands: list[Island], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(status: IslandStatus, island: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(IslandStatus, "write", full)
    assert islands[0].exchange(0.0) == 0
    assert "the status for the other islands cannot be written: No space left on device" in caplog.text


# --- directories ----------------------------------------------------------------------------------------------------


def test_islands_of_another_search_are_refused(tmp_path: Path) -> None:
    prepare_run(tmp_path, 0, settings())
    prepare_run(tmp_path, 1, settings())
    assert "arguments" not in Run(tmp_path).settings  # those of one island
    with pytest.raises(RunError, match="for another search: seed: expected 3, got 4"):
        prepare_run(tmp_path, 2, settings(seed=4))


def test_a_search_without_islands_and_islands_do_not_share_a_directory(tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    with Recorder(alone) as recorder:
        recorder.freeze(settings())
        recorder.asked([Evolution(SPACE).ask()])
    prepare_run(alone, None, settings())
    with pytest.raises(RunError, match="holds a search without islands; give another run directory"):
        prepare_run(alone, 0, settings())
    folder_of(tmp_path / "several", 0).mkdir(parents=True)
    with pytest.raises(RunError, match="holds 1 islands; carry on with --islands or --island"):
        prepare_run(tmp_path / "several", None, settings())


def test_only_an_evolution_that_takes_migrants_in_can_drive_an_island() -> None:
    class Stubborn:
        def ask(self) -> None: ...

    with pytest.raises(UserError, match="with has_seen, add_migrant, emigrants and first, got Stubborn"):
        with_migrants(Stubborn(), 0)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"island 2: expected Evolution\(first=20000000\), got first=0"):
        with_migrants(Evolution(SPACE), 2)
    assert with_migrants(Evolution(SPACE, first=first_number(2)), 2).first == first_number(2)
