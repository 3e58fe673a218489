"""The benchmark of applications: what it writes and reports, and a case with a tiny budget."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from benchmarks import applications
from menndl_dask import UserError, open_problem, workflow
from menndl_dask.data.data import splits
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution
from menndl_dask.problem import Budget
from menndl_dask.result import Result


def patches(path: Path) -> Path:
    """Write six patches of 64 × 64 pixels, of which the right half is cloud."""
    rng = np.random.default_rng(0)
    label = np.zeros((6, 64, 64), np.uint8)
    label[..., 32:] = 1
    image = (200 * label[:, np.newaxis] + rng.integers(0, 50, (6, 2, 64, 64))).astype("int16")
    split = np.array(["train"] * 4 + ["val", "test"])
    np.savez(path, image=image, scale=np.array([0.01, 0.02]), label=label, split=split)
    return path


def test_chips_are_cloudy_where_most_of_them_is_cloud_and_stay_with_their_patch(tmp_path: Path) -> None:
    applications.write_chips(patches(tmp_path / "patches.npz"), tmp_path / "chips.zarr")
    chips = xr.open_zarr(tmp_path / "chips.zarr", consolidated=False)
    assert chips["image"].shape == (24, 32, 32, 2)
    assert chips["label"].values.tolist() == [0, 1] * 12
    assert chips["group"].values.tolist() == sorted([0, 1, 2, 3, 4, 5] * 4)
    assert chips["split"].values.tolist() == ["train"] * 16 + ["validation"] * 4 + ["test"] * 4
    assert float(chips["image"][1].max()) < 5.1


def test_patches_that_are_not_there_are_named() -> None:
    with pytest.raises(UserError, match=r"--data: expected the \.npz file .* got nowhere\.npz"):
        applications.write_chips(Path("nowhere.npz"), Path("chips.zarr"))


def test_blocks_of_volumes_keep_their_split(tmp_path: Path) -> None:
    for name in ("train", "test"):
        volume = np.arange(8 * 8 * 16, dtype=np.uint16).reshape(8, 8, 16) % 251
        np.savez(tmp_path / f"{name}.npz", image=volume.astype("uint8"), boundary=(volume % 2).astype("uint8"))
    applications.write_boundaries(tmp_path, tmp_path / "blocks.zarr", (4, 8, 8))
    blocks = xr.open_zarr(tmp_path / "blocks.zarr", consolidated=False)
    assert blocks["image"].shape == (8, 4, 8, 8, 1)
    assert blocks["split"].values.tolist() == ["validation", "train"] * 2 + ["test"] * 4
    assert np.array_equal(blocks["label"], blocks["image"][..., 0] % 2)


def test_patches_with_names_are_divided_within_their_biome_by_turns() -> None:
    names = np.array([f"{biome}_{number:02}_0101" for biome in ("Barren", "Forest") for number in range(5)])
    first = ["train", "validation", "train", "test", "train"]
    assert applications._by_turns(names).tolist() == [*first, *first[1:4], "train", "validation"]


def test_a_share_of_the_training_images_leaves_the_other_splits_as_they_are(tmp_path: Path) -> None:
    applications.write_chips(patches(tmp_path / "patches.npz"), tmp_path / "chips.zarr")
    problem = open_problem(tmp_path / "chips.zarr")
    few = open_problem(applications.fewer_images(tmp_path / "chips.zarr", problem, 0.25))
    assert few.facts.samples == (4, 4, 4)
    whole, part = (xr.open_zarr(p.data, consolidated=False)["image"] for p in (problem, few))
    where, there = splits(problem)["test"], splits(few)["test"]
    assert np.array_equal(whole[where], part[there])


def test_the_knee_is_the_cheapest_within_one_standard_error() -> None:
    def one(number: int, fitness: float | None, flops: float) -> tuple[Individual, Result]:
        result = Result(fitness, failure=None if fitness else "error", costs={"flops_forward": flops})
        return Individual(number, Genome((Convolution(8),))), result

    found = [one(0, 0.9, 1e6), one(1, 0.89, 1e4), one(2, 0.8, 1e2), one(3, None, 1.0)]
    knee = applications.knee(found, 500)
    assert knee is not None
    assert knee.id == 1
    assert applications.knee([], 500) is None


@pytest.mark.trainings
def test_a_case_ends_with_its_tables_and_carries_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = replace(applications.CASES["clouds"], networks=("lenet5",), budget=Budget(epochs=1, batch_size=4))
    monkeypatch.setitem(applications.CASES, "clouds", case)
    monkeypatch.setattr(workflow, "_measure_alone", lambda *given: None)  # has its own tests
    words = ["clouds", "--data", str(patches(tmp_path / "patches.npz")), "--work", str(tmp_path), "--evaluations", "1"]
    words += ["--seeds", "1", "--retrain", "1", "--no-random", "--initial", "none"]
    assert applications.main(words) == 0
    rows = json.loads((tmp_path / "clouds" / "rows.json").read_text())["rows"]
    assert {row["kind"] for row in rows} == {"evolved", "standard", "not deep"}
    assert all(0 <= value <= 1 for row in rows for value in row["test"])
    journal = (tmp_path / "clouds" / "search" / "journal.jsonl").read_text()
    assert applications.main(words) == 0
    again = (tmp_path / "clouds" / "search" / "journal.jsonl").read_text()
    assert again.count('"contender"') == journal.count('"contender"') == 2
    assert "| LeNet-5 | standard | × 1 | 1 |" in (tmp_path / "clouds" / "table.md").read_text()
