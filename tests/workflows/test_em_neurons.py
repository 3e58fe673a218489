"""The script for volumes of neurons: predictions of sections, the networks it scores, and its extra library."""

from __future__ import annotations

import sys
from pathlib import Path

import em_neurons
import numpy as np
import pytest
import xarray as xr
import zarr
from neuron_volumes import Volume

from menndl_dask import UserError
from tests.neuron_files import write_flyem


def test_sections_that_are_predicted_one_by_one_become_volumes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(model: Path, source: Path, target: Path, *, probabilities: bool) -> Path:
        """Give each pixel its own value as probability."""
        images = zarr.open_group(source, mode="r")["samples"]
        for name, sample in images.groups():
            each = np.stack([1 - sample["image"][:], sample["image"][:]], axis=-1)
            one = xr.Dataset({"probability": (("y", "x", "class"), each)})
            one.to_zarr(target, group=f"samples/{name}", mode="a", zarr_format=3, consolidated=False)
        return target

    monkeypatch.setattr(em_neurons, "predict", predict)
    rng = np.random.default_rng(0)
    volumes = []
    for name, depth in (("a", 2), ("b", 3)):
        image = rng.random((depth, 4, 5))
        none = np.zeros(image.shape, "uint8")
        volumes.append(Volume(name, image, none, none, by_section=True, planar=True))
    found = em_neurons.predicted(tmp_path / "best.keras", volumes, tmp_path)
    for each, volume in zip(found, volumes, strict=True):
        np.testing.assert_array_equal(each, volume.image)


def test_scikit_image_is_asked_for_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "neuron_volumes")
    monkeypatch.setitem(sys.modules, "skimage.measure", None)
    with pytest.raises(UserError, match=r'needs scikit-image, which is not installed: pip install "menndl_dask\[em\]"'):
        em_neurons.main(["--data", str(write_flyem(tmp_path)), "--run", str(tmp_path / "run")])


def test_a_run_on_other_volumes_is_one_line(tmp_path: Path) -> None:
    write_flyem(tmp_path / "a")
    words = ["--data", str(tmp_path / "a"), "--run", str(tmp_path / "run")]
    with pytest.raises(UserError, match="patch"):  # ends after the volumes are written
        em_neurons.main([*words, "--patch", "8", "8"])
    with pytest.raises(UserError, match=r"volumes\.zarr: was made with .*test volume: test, now .*test volume: train"):
        em_neurons.main([*words, "--test", "train"])
