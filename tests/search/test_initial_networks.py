"""Seeding: what names of networks to begin with stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from menndl_dask import UserError
from menndl_dask.genome.individual import ranked
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.search.initial_networks import initial_networks
from menndl_dask.space.standard.standard import standard_network
from tests.problems import problem
from tests.runs import finished, made_up
from tests.standard_networks import le_net_5

OF = problem()


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
    model.save(tmp_path / "lenet.keras")
    assert initial_networks([str(tmp_path / "lenet.keras")], OF) == [encode(model)]


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.keras"
    path.write_text("not a model")
    with pytest.raises(UserError, match=r"--initial: .*notes\.keras: no genome can be made of this model"):
        initial_networks([str(path)], OF)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["standrad"], "expected standard, none, a run directory or a .keras file, got 'standrad'"),
        (["none", "standard"], "expected none alone, got it among none, standard"),
    ],
)
def test_other_names_are_refused(names: list[str], told: str) -> None:
    with pytest.raises(UserError, match=f"--initial: {told}"):
        initial_networks(names, OF)
