"""The networks that a run keeps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from menndl_dask.errors import RunError
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.result import Result
from menndl_dask.run.kept_models import KeptModels
from tests.evaluations import SPACE


def individual(number: int) -> Individual:
    return Individual(number, SPACE.sample(np.random.default_rng(number)))


def told(networks: KeptModels, *fitnesses: float | None) -> None:
    """Have evaluations come home that have all been saved."""
    for number, fitness in enumerate(fitnesses):
        path = networks.path(individual(number))
        path.parent.mkdir(parents=True)
        path.write_text(str(fitness))
        networks.tell(individual(number), Result(fitness) if fitness is not None else Result.failed("diverged"))


def kept(networks: KeptModels) -> list[str]:
    return sorted(path.name for path in networks.folder.iterdir())


def test_the_fittest_few_are_kept_with_their_genome(tmp_path: Path) -> None:
    networks = KeptModels(tmp_path)
    told(networks, 0.1, 0.5, None, 0.3, 0.9, 0.2, 0.4)
    assert kept(networks) == ["00000001", "00000004", "00000006"]
    assert (tmp_path / "00000004" / "network.keras").read_text() == "0.9"
    text = (tmp_path / "00000004" / "genome.json").read_text()
    assert Genome.from_dict(json.loads(text)) == individual(4).genome


def test_a_checkpoint_goes_when_the_result_is_home_and_stays_while_its_network_is_in_flight(tmp_path: Path) -> None:
    networks = KeptModels(tmp_path, keep=1)
    for number in range(4):
        checkpoint = networks.checkpoint(individual(number))
        checkpoint.parent.mkdir()
        checkpoint.write_text("how far it is")
        checkpoint.with_name(".checkpoint.123.partial").write_text("half of it")
    networks.tell(individual(0), Result(0.5))
    networks.tell(individual(1), Result(0.4))
    assert {path.parent.name for path in tmp_path.glob("*/.checkpoint*")} == {"00000002", "00000003"}
    assert kept(networks) == ["00000000", "00000002", "00000003"]
    (tmp_path / "00000000" / ".checkpoint").touch()
    networks.sweep([individual(3)])  # what a killed driver has left
    assert {path.parent.name for path in tmp_path.glob("*/.checkpoint*")} == {"00000003"}


def test_of_equals_the_first_home_is_kept(tmp_path: Path) -> None:
    networks = KeptModels(tmp_path, keep=1)
    told(networks, 0.5, 0.5)
    assert kept(networks) == ["00000000"]


def test_everything_is_worth_saving_until_enough_are_kept(tmp_path: Path) -> None:
    networks = KeptModels(tmp_path)
    told(networks, 0.5, 0.7)
    assert networks.threshold is None
    networks.tell(individual(2), Result(0.6))
    assert networks.threshold == 0.5


def test_what_a_killed_driver_left_is_swept_and_what_is_in_flight_is_not(tmp_path: Path) -> None:
    told(KeptModels(tmp_path), 0.1, 0.5, 0.3)
    (tmp_path / "00000007").mkdir()
    (tmp_path / "00000008").mkdir()
    (tmp_path / "00000001" / "genome.json").unlink()
    networks = KeptModels(tmp_path, keep=2)
    for number, fitness in enumerate((0.1, 0.5, 0.3)):
        networks.recall(individual(number), Result(fitness))
    networks.sweep([individual(8)])
    assert kept(networks) == ["00000001", "00000002", "00000008"]
    assert (tmp_path / "00000001" / "genome.json").exists()


def test_what_others_put_beside_a_network_outlives_it(tmp_path: Path) -> None:
    networks = KeptModels(tmp_path, keep=1)
    told(networks, 0.5)
    (tmp_path / "00000000" / "trained-4.keras").write_text("longer")
    networks.tell(individual(1), Result(0.6))
    networks.sweep()
    assert sorted(path.name for path in (tmp_path / "00000000").iterdir()) == ["genome.json", "trained-4.keras"]


def test_links_in_place_of_networks_are_removed_and_never_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / ".checkpoint").write_text("precious")
    (victim / "network.keras").write_text("precious")
    folder = tmp_path / "run" / "networks"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / individual(number).name).symlink_to(victim)
    networks = KeptModels(folder, keep=1)
    networks.recall(individual(0), Result(0.9))
    networks.sweep([individual(1)])
    networks.tell(individual(1), Result(0.1))
    assert [path.name for path in folder.iterdir() if path.is_symlink()] == []
    assert {path.name: path.read_text() for path in victim.iterdir()} == {
        ".checkpoint": "precious", "network.keras": "precious"
    }  # fmt: skip


def test_a_link_in_place_of_all_networks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "networks").symlink_to(tmp_path / "victim")
    with pytest.raises(RunError, match="networks: expected a folder of the run, got a symbolic link"):
        KeptModels(tmp_path / "networks").sweep()
