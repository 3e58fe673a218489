"""Seeding: what names of networks to begin with stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

from menndl_dask import UserError
from menndl_dask.evaluation.child_process import ChildProcess
from menndl_dask.evolution.evolution import Evolution
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import ranked
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.genome.layers import Convolution
from menndl_dask.problem import Limits, Problem
from menndl_dask.run.settings import FILE, freeze, frozen_settings
from menndl_dask.search.initial_networks import KEY, Beginning, initial_networks, recorded, to_record
from menndl_dask.search.search import Search
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.standard.standard import named_network, standard_network
from tests.problems import problem
from tests.runs import finished, made_up
from tests.standard_networks import le_net_5

OF = problem()


class Kept(ChildProcess):
    """A process that reads models, which its users do not end."""

    def close(self, *_: Any) -> None:
        """Stay."""


@pytest.fixture(scope="module")
def reader() -> Iterator[Kept]:
    """Return a process that has Keras, for all tests here."""
    child = Kept("menndl_dask.prediction.model_process")
    yield child
    ChildProcess.close(child)


@pytest.fixture
def _one_reader(reader: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read all models in one process, which imports Keras once."""
    monkeypatch.setattr("menndl_dask.search.initial_networks.ChildProcess", lambda module: reader)


def test_the_standard_network_is_known_by_its_name_and_none_is_none() -> None:
    assert initial_networks(["standard"], OF) == [standard_network(OF)[1]]
    assert initial_networks(["none"], OF) == []


def test_images_without_a_standard_network_begin_without() -> None:
    assert initial_networks(["standard"], problem(shapes=((1, 40, 1),))) == []


def test_the_best_networks_of_an_earlier_run_begin_a_search(tmp_path: Path) -> None:
    run = finished(tmp_path / "earlier", made_up(12))
    expected = [individual.genome for individual, _ in ranked(run.evaluations, 5)]
    assert initial_networks([str(run.path), "standard", str(run.path)], OF) == [*expected, standard_network(OF)[1]]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own, when it saves
def test_a_saved_keras_model_becomes_a_genome_without_keras_in_this_process(tmp_path: Path) -> None:
    model, *_ = le_net_5()
    scaled = keras.Sequential([model.inputs[0], keras.layers.Rescaling(1 / 255, name="scaling"), *model.layers])
    path = str(tmp_path / "lenet.keras")
    scaled.save(path)
    found = begun([path], SearchSpace.image(OF), tmp_path / "run")
    assert [given.genome for given in found.networks] == [encode(model)]
    assert found.lines[0] == f"{path}: layer 'scaling' (Rescaling): left out: the problem normalises images"


@pytest.mark.usefixtures("_one_reader")
def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.keras"
    path.write_text("not a model")
    with pytest.raises(UserError, match=r"--initial: .*notes\.keras: no genome can be made of this model"):
        initial_networks([str(path)], OF)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["standrad"], "expected standard, suitable, none, a run directory or a .keras file, got 'standrad'"),
        (["none", "standard"], "expected none alone, got it among none, standard"),
        (
            ["resnet_18"],
            "expected standard.*, got 'resnet_18'; did you mean 'resnet18'\\?; published networks: .*, vgg16",
        ),
        (["unet_full"], "standard network unet_full: exists for segmentation .*, got classification of images with 2"),
    ],
)
def test_other_names_are_refused(names: list[str], told: str) -> None:
    with pytest.raises(UserError, match=f"--initial: {told}"):
        initial_networks(names, OF)


def test_published_networks_are_known_by_their_names(tmp_path: Path) -> None:
    assert initial_networks(["resnet18", "lenet5"], OF) == [
        named_network(name, OF)[1] for name in ("resnet18", "lenet5")
    ]
    with pytest.raises(UserError, match=r"--initial: resnet18: expected at most .* parameters, got .*--max-parameters"):
        begun(["resnet18"], SearchSpace.image(OF, max_parameters=1e6), tmp_path)


def begun(names: list[str], space: SearchSpace, run: Path, of: Problem = OF) -> Beginning:
    return Beginning.of(names, of, space, run)


def test_the_standard_network_follows_the_limits_that_the_user_gave_and_a_line_says_so(tmp_path: Path) -> None:
    short, small = SearchSpace.image(OF, maximum=5), SearchSpace.image(OF, max_parameters=6000)
    for space, told in ((short, "expected 0 . 2 to 5 genes, got"), (small, "expected at most 6000 parameters, got")):
        found = begun(["standard"], space, tmp_path)
        assert found.space is space
        (given,) = found.networks
        assert space.contains(given.genome)
        assert re.match(f"changed to fit the space: standard: {told}", found.lines[0])


def test_the_space_is_widened_for_the_standard_network_of_several_views(tmp_path: Path) -> None:
    of = problem(shapes=((64, 64, 1),) * 3)
    found = begun(["standard"], SearchSpace.image(of), tmp_path, of)
    assert [given.genome for given in found.networks] == [standard_network(of)[1]]
    assert found.space.maximum == len(standard_network(of)[1].folded()) > SearchSpace.image(of).maximum
    assert found.lines == (f"standard: kept as it is; the space now has up to {found.space.maximum} genes",)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own, when it saves
@pytest.mark.usefixtures("_one_reader")
def test_a_model_for_other_images_is_refused(tmp_path: Path) -> None:
    model, *_ = le_net_5()
    path = tmp_path / "lenet.keras"
    model.save(path)
    with pytest.raises(UserError, match=r"--initial: .*: expected a model that reads 2 views, got 1"):
        initial_networks([str(path)], problem(shapes=((32, 32, 1),) * 2))
    with pytest.raises(UserError, match=r"expected a model of images of 3 axes and channels, got .* \(32, 32, 1\)"):
        initial_networks([str(path)], problem(shapes=((32, 32, 32, 1),)))
    with pytest.raises(UserError, match=r"^--initial: .*: expected at most 1000 parameters.*--max-parameters"):
        begun([str(path)], SearchSpace.image(OF, max_parameters=1000), tmp_path / "run")


def test_a_run_without_a_success_begins_nothing(tmp_path: Path) -> None:
    run = finished(tmp_path / "earlier", made_up(0))
    with pytest.raises(UserError, match="no network of this run has been evaluated with success"):
        initial_networks([str(run.path)], OF)


def test_a_run_that_is_carried_on_has_the_networks_and_the_space_that_it_began_with(tmp_path: Path) -> None:
    earlier, path = finished(tmp_path / "earlier", made_up(12)).path, tmp_path / "mine"
    names, space = [str(earlier), "standard"], SearchSpace.image(OF)
    first = begun(names, space, path)
    settings = {KEY: to_record(first.networks)}
    search = Search(OF, first.space, path, initial=[each.genome for each in first.networks], settings=settings)
    path.mkdir()
    freeze(path / FILE, frozen_settings(OF, search.space, 0, search.limits, search.settings))
    earlier.rename(tmp_path / "moved")
    again = begun(names, space, path)
    assert again.networks == first.networks
    assert again.space.to_dict() == first.space.to_dict()
    with pytest.raises(UserError, match="--initial: expected standard, suitable, none"):
        begun([*names, str(tmp_path / "missing")], space, path)


def test_a_search_from_python_records_its_networks_and_finds_them_again(tmp_path: Path) -> None:
    wide = Genome((Convolution(8, (1, 11)), Convolution(8)))
    search = Search(OF, SearchSpace.image(OF), tmp_path, initial=[wide])
    assert search.space.contains(wide)
    freeze(tmp_path / FILE, frozen_settings(OF, search.space, 0, search.limits, search.settings))
    assert recorded(tmp_path) == {"initial network 0": [wide]}
    again = Search(OF, SearchSpace.image(OF), tmp_path)
    assert again.space.to_dict() == search.space.to_dict()
    assert again.evolution.ask(1)[0].genome == wide
    island = Search(OF, SearchSpace.image(OF), tmp_path / "islands", initial=[wide], island=1)
    assert island.space.to_dict() == search.space.to_dict()
    assert island.evolution.ask(1)[0].genome != wide
    with pytest.raises(UserError, match="initial: expected none beside an evolution of your own"):
        Search(OF, search.space, tmp_path / "other", evolution=Evolution(search.space), initial=[wide])


def test_a_run_of_an_earlier_version_keeps_its_space(tmp_path: Path) -> None:
    space = SearchSpace.image(OF, maximum=4)
    freeze(tmp_path / FILE, frozen_settings(OF, space, 0, Limits(), {}))
    found = begun(["standard"], space, tmp_path)
    assert found.space is space
    assert space.contains(found.networks[0].genome)
