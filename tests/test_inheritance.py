"""Inheritance: a child begins with what its parents have learnt, where layers match; else it begins afresh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest

from menndl_dask.data import open_problem
from menndl_dask.decoder import decode
from menndl_dask.evaluation import evaluate
from menndl_dask.genome import Genome
from menndl_dask.individual import Individual
from menndl_dask.inheritance import Inheritance, bequeath, inherit
from menndl_dask.layer import Convolution, FullyConnected
from menndl_dask.problem import Budget, Limits
from tests import stores
from tests.problems import problem

FIRST, SECOND = Convolution(8, normalisation="batch"), Convolution(8, kernel_size=(5,))
PARENT, CHILD = Genome((FIRST, FullyConnected(16))), Genome((FIRST, SECOND, FullyConnected(16)))


def model(genome: Genome, seed: int) -> keras.Model:
    return decode(genome, problem(), seed)


def left_by(path: Path, parent: keras.Model, number: int = 3) -> tuple[int, str]:
    """Have a parent leave its weights; return what a child is told of them."""
    file = path / "weights" / f"{number}.npz"
    bequeath(parent, file, file.with_suffix(".partial"))
    return number, str(file)


def same(first: keras.Model, second: keras.Model, name: str, other: str = "") -> bool:
    pairs = zip(first.get_layer(name).get_weights(), second.get_layer(other or name).get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_layers_that_match_have_the_parents_weights_and_others_their_own(tmp_path: Path) -> None:
    parent, child, fresh = model(PARENT, 1), model(CHILD, 2), model(CHILD, 2)
    parent.get_layer("layer0_normalisation").set_weights([np.full(8, i + 0.5) for i in range(4)])
    began = inherit(child, [left_by(tmp_path, parent)])
    names = {"layer0": "layer0", "layer0_normalisation": "layer0_normalisation", "layer2": "layer1", "head": "head"}
    assert all(same(child, parent, mine, theirs) for mine, theirs in names.items())
    assert same(child, fresh, "layer1")
    assert began == Inheritance({"3": child.count_params() - child.get_layer("layer1").count_params()})
    assert [file.name for file in (tmp_path / "weights").iterdir()] == ["3.npz"]


def test_what_the_first_parent_lacks_comes_from_the_second(tmp_path: Path) -> None:
    first, second, child = model(PARENT, 1), model(Genome((SECOND, FullyConnected(16))), 4), model(CHILD, 2)
    began = inherit(child, [left_by(tmp_path, first), left_by(tmp_path, second, 5)])
    assert same(child, first, "layer0") and same(child, first, "head")
    assert began.weights["3"] > began.weights["5"] == 0  # SECOND reads one channel there and eight here
    twin = model(CHILD, 6)
    began = inherit(child, [left_by(tmp_path, first), left_by(tmp_path, twin, 6)])
    assert same(child, twin, "layer1") and same(child, first, "layer0")
    assert began.weights["6"] == twin.get_layer("layer1").count_params()
    assert sum(began.weights.values()) == child.count_params()


@pytest.mark.parametrize(("content", "why"), [(None, "are not there any more"), (b"PK\x03\x04", "cannot be read")])
def test_a_child_whose_parents_left_nothing_begins_afresh_and_says_so(
    content: bytes | None, why: str, tmp_path: Path
) -> None:
    file, child = tmp_path / "3.npz", model(CHILD, 2)
    if content is not None:
        file.write_bytes(content)
    began = inherit(child, [(3, str(file))])
    assert began == Inheritance({}, f"the weights of network 3 {why}, it began afresh")
    assert all(same(child, model(CHILD, 2), layer.name) for layer in child.layers)


def test_a_disk_that_takes_no_weights_is_no_networks_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "weights").write_text("a file where a folder should be")
    left_by(tmp_path, model(PARENT, 1))
    assert "no weights could be written" in caplog.text


def test_an_evaluated_child_begins_where_its_parent_ended_and_an_equal_one_without_parents_does_not(
    tmp_path: Path,
) -> None:
    stores.write(stores.classification(120), tmp_path / "data.zarr", 60)
    budget = Budget(epochs=5, batch_size=16, deterministic=True).unbroken()
    of, weights = open_problem(tmp_path / "data.zarr", budget=budget), tmp_path / "weights"

    def trained(number: int, parents: Sequence[int] = ()) -> tuple[float, dict[str, int], str]:
        files = {parent: weights / f"{parent}.npz" for parent in parents}
        one = Individual(number, Genome((Convolution(8), FullyConnected(16))))
        result = evaluate(one, of, Limits(120), seed=number, parents=files, weights=weights / f"{number}.npz")
        assert result.inherited_share == (1 if result.inherited else None)
        return result.curve[0]["val_loss"], dict(result.inherited), result.message

    afresh = trained(1)
    assert afresh[1:] == ({}, "")
    after = trained(2, [1])
    assert after[0] < afresh[0] - 0.1
    assert list(after[1]) == ["1"] and after[2] == ""
    again = trained(2, [1, 3])
    assert again[:2] == after[:2]  # the same bits each time
    assert again[2] == "the weights of network 3 are not there any more"
    assert sorted(file.name for file in weights.iterdir()) == ["1.npz", "2.npz"]
