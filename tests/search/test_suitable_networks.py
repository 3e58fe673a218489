"""Published networks that a search begins with, narrowed to its limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from menndl_dask.genome.cost import cost_of
from menndl_dask.problem import Limits, Problem
from menndl_dask.run.settings import FILE, freeze, frozen_settings
from menndl_dask.search.initial_networks import KEY, Beginning, to_record, usual_names
from menndl_dask.search.suitable_networks import narrowed, suitable_networks
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.standard.standard import named_network
from tests.problems import PROBLEMS, problem

CHIPS = problem(shapes=((32, 32, 8),), outputs=2)
PIXELS = problem("segmentation", ((64, 64, 1),))


@pytest.mark.parametrize("of", [CHIPS, PIXELS, *PROBLEMS.values()])
def test_they_keep_the_limits_of_the_space(of: Problem) -> None:
    space = SearchSpace.image(of, max_parameters=5e5, max_flops=2e8)
    for genome, note in suitable_networks(of, space):
        cost = cost_of(genome, of)
        assert cost.parameters <= 5e5
        assert cost.flops_forward <= 2e8
        assert "parameters and" in note


def test_they_suit_the_task_and_are_as_wide_as_the_limits_allow() -> None:
    wide = suitable_networks(CHIPS, SearchSpace.image(CHIPS))
    assert [note.partition(",")[0] for _, note in wide] == ["MobileNetV2 as published", "ResNet-18 as published"]
    assert wide[1][0] == named_network("resnet18", CHIPS)[1]
    narrow = suitable_networks(PIXELS, SearchSpace.image(PIXELS, max_parameters=6e5, max_flops=4e8))
    assert [note.partition(" at ")[0] for _, note in narrow] == ["U-Net, planned", "U-Net++"]
    assert suitable_networks(CHIPS, SearchSpace.image(CHIPS, max_parameters=1000)) == []


def test_all_layers_of_a_cell_are_narrowed() -> None:
    genome = named_network("resnet18", CHIPS)[1]
    half = narrowed(genome, 2)
    assert cost_of(half, CHIPS).parameters == pytest.approx(cost_of(genome, CHIPS).parameters / 4, rel=0.05)
    assert len(half.layers) == len(genome.layers)


def test_a_search_begins_with_them_beside_the_standard_network_and_keeps_them(tmp_path: Path) -> None:
    space = SearchSpace.image(CHIPS, max_parameters=5e5, max_flops=6e7)
    begun = Beginning.of(["standard", "suitable"], CHIPS, space, tmp_path / "run")
    assert [given.name for given in begun.networks] == ["standard", "suitable", "suitable"]
    assert any(line.startswith("suitable: MobileNetV2 at 1/4 of its width") for line in begun.lines)


def test_a_search_of_twenty_networks_begins_with_them_unless_its_user_says_otherwise(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert usual_names(run, None) == usual_names(run, 20) == ("standard", "suitable")
    assert usual_names(run, 19) == ("standard",)
    space = SearchSpace.image(CHIPS)
    begun = to_record(Beginning.of(["standard"], CHIPS, space, run).networks)
    # one that a version began that did not record them, one that has recorded them, and one that began with none
    for recorded, names in (({}, "standard"), ({KEY: begun}, "standard"), ({KEY: []}, "none")):
        run = tmp_path / f"run {len(str(recorded))}"
        run.mkdir()
        freeze(run / FILE, frozen_settings(CHIPS, space, 0, Limits(), recorded))
        assert usual_names(run, 20) == (names,)


def test_one_that_breaks_a_limit_that_the_user_has_set_is_left_out_in_a_line(tmp_path: Path) -> None:
    space = SearchSpace.image(CHIPS, maximum=8)
    begun = Beginning.of(["standard", "suitable"], CHIPS, space, tmp_path / "run")
    assert [given.name for given in begun.networks] == ["standard"]
    assert sum(line.startswith("left out: suitable: ") for line in begun.lines) == 2
