"""A trained network applied to images of any size: tiled, in child processes, through Dask, from Zarr to Zarr."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import xarray as xr
import zarr

from menndl_dask import Limits, SearchSpace, decode
from menndl_dask.errors import DataError, UserError
from menndl_dask.prediction import network
from menndl_dask.prediction.network import ModelDescription
from menndl_dask.prediction.prediction import predict
from menndl_dask.problem import Problem
from menndl_dask.run.settings import freeze, frozen_settings
from menndl_dask.space.standard.standard import standard_network
from tests.problems import problem

layers = keras.layers
# Keras itself, when it saves a network
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def u_shaped(size: tuple[int | None, ...], channels: int = 1, classes: int = 3) -> keras.Model:
    """Return a small network with random weights that halves the image once; a pixel sees 6 pixels around it."""
    keras.utils.set_random_seed(3)
    image = keras.Input((*size, channels), name="image")
    first = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    low = layers.Conv2D(4, 3, padding="same", activation="relu")(layers.MaxPooling2D()(first))
    joined = layers.Concatenate()([layers.UpSampling2D()(low), first])
    return keras.Model(image, layers.Conv2D(classes, 3, padding="same", activation="softmax")(joined))


def write(path: Path, variables: dict[str, Any], **coords: Any) -> Path:
    xr.Dataset(variables, coords).to_zarr(path, consolidated=False, zarr_format=3)
    return path


def read(path: Path) -> xr.Dataset:
    return xr.open_zarr(path, consolidated=False, chunks=None)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


# --- with real networks -----------------------------------------------------------------------------------------------


def test_a_large_image_is_labelled_as_if_the_network_had_seen_it_whole(tmp_path: Path) -> None:
    u_shaped((64, 64)).save(tmp_path / "trained.keras")
    image = noise(1101, 999)
    source = write(tmp_path / "large.zarr", {"image": (("y", "x"), image)})
    done: list[tuple[int, int]] = []
    target = predict(
        tmp_path / "trained.keras",
        source,
        tmp_path / "predicted.zarr",
        overlap=8,
        probabilities=True,
        progress=lambda finished, all_of_them: done.append((finished, all_of_them)),
    )
    predicted = read(target)["probability"]
    part = slice(900, 1101), slice(0, 500)  # an even corner, as the pooling has it; many seams in it, and two edges
    at_once = u_shaped((202, 500)).predict_on_batch(np.pad(image[part], [(0, 1), (0, 0)])[np.newaxis, ..., np.newaxis])
    inside = slice(6, -8), slice(0, -6)
    assert predicted.shape == (1101, 999, 3) and predicted.dims == ("y", "x", "class")
    assert predicted.values[part][inside] == pytest.approx(at_once[0, :-1][inside], abs=1e-4)
    assert np.isfinite(predicted.values).all() and predicted.values.sum(axis=-1) == pytest.approx(1, abs=1e-4)
    assert done == [(1, 2), (2, 2)]  # blocks of 1040 lines, a multiple of the stride of the tiles


def run_directory(path: Path) -> Path:
    """Make a run whose best network has untrained weights; return the network's file."""
    of = problem("segmentation", ((16, 16, 1),), outputs=3)
    path.mkdir()
    freeze(path / "run.yaml", frozen_settings(of, SearchSpace.image(of), 0, Limits(), {}))
    _, genome = standard_network(of)
    decode(genome, of).save(path / "best.keras")
    return path / "best.keras"


def test_worker_processes_predict_with_a_run_s_network_and_never_import_keras(tmp_path: Path) -> None:
    model = run_directory(tmp_path / "run")
    source = write(
        tmp_path / "images.zarr",
        {"image": (("sample", "y", "x", "channel"), noise(3, 40, 70, 1))},
        sample=np.array(["a", "b", "c"], dtype=object),
        x=np.arange(70.0),
    )
    code = (
        "import sys; from distributed import Client, LocalCluster; from menndl_dask import predict\n"
        "if __name__ == '__main__':\n"
        "    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=':0') as c, Client(c) as client:\n"
        "        predict(*sys.argv[1:], client=client)\n"
        "        loaded = client.run(lambda: sorted({'keras', 'tensorflow'} & set(__import__('sys').modules)))\n"
        "        print([*loaded.values(), sorted({'keras', 'tensorflow'} & set(sys.modules))])\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    command = [sys.executable, script, model, source, tmp_path / "predicted.zarr"]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "CUDA_VISIBLE_DEVICES": "-1"}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=400).stdout
    assert said.strip() == "[[], []]"
    predicted = read(tmp_path / "predicted.zarr")["prediction"]
    assert predicted.dims == ("sample", "y", "x") and predicted.shape == (3, 40, 70) and predicted.dtype == "uint8"
    assert predicted.attrs["classes"] == ["class 0", "class 1", "class 2"]
    assert predicted["sample"].values.tolist() == ["a", "b", "c"] and float(predicted["x"][69]) == 69.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.zarr", "predicted.zarr", "run", "script.py"]


def test_several_views_of_a_volume_are_labelled_voxel_by_voxel(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    views = [keras.Input((8, 8, 8, 1), name="near"), keras.Input((8, 8, 8, 2), name="far")]
    network = keras.Model(views, layers.Conv3D(4, 3, padding="same")(layers.Concatenate()(views)))
    network.save(tmp_path / "trained.keras")  # without a softmax, and in no run: it answers with values
    near, far = noise(20, 13, 8), noise(20, 13, 8, 2)
    dims = ("z", "y", "x")
    source = write(tmp_path / "volume.zarr", {"near": (dims, near), "far": ((*dims, "channel"), far)})
    target = predict(tmp_path / "trained.keras", source, tmp_path / "predicted.zarr", overlap=2)
    predicted = read(target)["prediction"]
    weights, bias = network.layers[-1].get_weights()
    both = np.concatenate([near[..., np.newaxis], far], axis=-1)[8:11, 4:7, 3:6]  # around one voxel
    assert predicted.dims == ("z", "y", "x", "value") and predicted.shape == (20, 13, 8, 4)
    assert predicted.values[9, 5, 4] == pytest.approx(np.einsum("zyxc,zyxcv->v", both, weights) + bias, abs=1e-5)


def test_a_network_that_takes_any_size_is_adapted_to_the_tile(tmp_path: Path) -> None:
    u_shaped((None, None)).save(tmp_path / "open.keras")
    image = noise(300, 300)
    source = write(tmp_path / "images.zarr", {"image": (("y", "x"), image)})
    settings: dict[str, Any] = {"tile": 96, "overlap": 8, "probabilities": True, "flips": ["x"]}
    target = predict(tmp_path / "open.keras", source, tmp_path / "predicted.zarr", **settings)
    both = np.stack([image, image[:, ::-1]])[..., np.newaxis]
    first, mirrored = u_shaped((300, 300)).predict_on_batch(both)
    at_once = (first + mirrored[:, ::-1]) / 2
    inside = slice(6, -6), slice(6, -6)
    assert read(target)["probability"].values[inside] == pytest.approx(at_once[inside], abs=1e-4)


# --- with a stand-in that knows the answer ----------------------------------------------------------------------------


class Known:
    """Stands in for the child process: tells classes by the sign of the mean over the channels."""

    description = ModelDescription(("image",), ((16, 16, 1),), (16, 16, 2), "softmax")
    opened: int = 0

    def __init__(self, spec: network.ModelSpec) -> None:
        type(self).opened += 1
        self.adapt(spec)

    def adapt(self, spec: network.ModelSpec) -> None:
        self.spec = spec
        if spec.tile is not None:
            inputs = tuple((*spec.tile, shape[-1]) for shape in self.description.inputs)
            output = (*spec.tile, self.description.output[-1])
            self.description = self.description._replace(inputs=inputs, output=output)

    def predict(self, inputs: Any, batch: int) -> Iterator[np.ndarray]:
        means = np.stack([views[0].mean(axis=-1) for views in inputs])
        if len(self.description.output) == 1:
            means = means.mean(axis=(1, 2))
        positive = np.where(np.isnan(means), np.nan, means > 0)
        yield from np.stack([1 - positive, positive], axis=-1).astype("float32")

    def close(self) -> None:
        type(self).opened -= 1


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file that passes for a network, while `Known` answers."""
    described = SimpleNamespace(**{k: v for k, v in vars(Known).items() if not k.startswith("__")})
    monkeypatch.setattr(network, "Network", type("Mine", (Known,), {"description": described.description}))
    path = tmp_path / "trained.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", "{}")
    return path


def describe(**changes: Any) -> None:
    """Change what the stand-in says about itself, for this test."""
    network.Network.description = Known.description._replace(**changes)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("dims", "shape", "channels"),
    [
        (("sample", "y", "x", "channel"), (3, 20, 37, 2), 2),
        (("y", "x", "channel"), (20, 37, 2), 2),
        (("y", "x"), (20, 37), 1),
        (("sample", "y", "x"), (3, 20, 37), 1),
        (("sample", "channel", "y", "x"), (3, 2, 20, 37), 2),
        (("time", "row", "col"), (3, 20, 37), 1),
        (("y", "x", "polarisation"), (20, 37, 2), 2),
        (("y", "x"), (5, 3), 1),
    ],
)
def test_images_with_and_without_samples_and_channels_are_labelled(
    model: Path, tmp_path: Path, dims: tuple[str, ...], shape: tuple[int, ...], channels: int
) -> None:
    describe(inputs=((16, 16, channels),))
    image = noise(*shape)
    source = write(tmp_path / "images.zarr", {"image": (dims, image)})
    predicted = read(predict(model, source, tmp_path / "predicted.zarr", overlap=3))["prediction"]
    places = [place for place, dim in enumerate(dims) if dim in ("channel", "polarisation")]
    assert predicted.dims == tuple(dim for place, dim in enumerate(dims) if place not in places)
    assert np.array_equal(predicted.values, image.mean(axis=tuple(places)) > 0)


def test_a_bare_array_is_labelled_too(model: Path, tmp_path: Path) -> None:
    image = noise(30, 20)
    zarr.create_array(tmp_path / "bare.zarr", data=image)
    predicted = read(predict(model, tmp_path / "bare.zarr", tmp_path / "predicted.zarr"))["prediction"]
    assert np.array_equal(predicted.values, image > 0)


def test_pixels_without_a_value_get_the_fill_label(model: Path, tmp_path: Path) -> None:
    image = noise(30, 20)
    image[4, 5] = np.nan
    source = write(tmp_path / "images.zarr", {"image": (("y", "x"), image)})
    predicted = read(predict(model, source, tmp_path / "predicted.zarr"))["prediction"]
    assert predicted.attrs["fill"] == 255 and predicted.attrs["classes"] == ["0", "1"]
    assert np.argwhere(predicted.values == 255).tolist() == [[4, 5]]


def test_scaled_integers_are_read_as_the_values_they_stand_for(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "images.zarr"
    stored = {"dtype": "uint8", "scale_factor": 0.1, "add_offset": -5.0, "_FillValue": 255}
    data = xr.Dataset({"image": (("y", "x"), np.array([[-1.0, 2.0], [3.0, -4.0]]))})
    data.to_zarr(path, consolidated=False, encoding={"image": stored})
    predicted = read(predict(model, path, tmp_path / "predicted.zarr"))["prediction"]
    assert predicted.values.tolist() == [[0, 1], [1, 0]]


def of_unequal_sizes(path: Path, images: list[np.ndarray], dims: tuple[str, ...], **attributes: Any) -> Path:
    """Write images each into a group of its own, with the files' names at the root."""
    names = np.array([f"{number}.tif" for number in range(len(images))], dtype=object)
    xr.Dataset(coords={"file": ("sample", names)}).to_zarr(path, consolidated=False, zarr_format=3)
    for number, image in enumerate(images):
        part = xr.Dataset({"image": (dims, image, attributes)}, {"x": np.arange(image.shape[1]) * 0.5})
        part.to_zarr(path, group=f"samples/{number:05d}", mode="a", consolidated=False, zarr_format=3)
    return path


@pytest.mark.filterwarnings("ignore:.*Zarr V3 specification")
def test_images_of_unequal_size_are_labelled_each_in_its_own_group(model: Path, tmp_path: Path) -> None:
    images = [noise(30, 20), noise(5, 7), noise(1, 40), noise(16, 16)]
    source = of_unequal_sizes(tmp_path / "images.zarr", images, ("y", "x"), spacing=[0.25, 0.5])
    target = predict(model, source, tmp_path / "predicted.zarr")
    root = read(target)
    assert root["file"].values.tolist() == ["0.tif", "1.tif", "2.tif", "3.tif"] and root.attrs["tile"] == [16, 16]
    for number, image in enumerate(images):
        part = xr.open_zarr(target, group=f"samples/{number:05d}", consolidated=False, chunks=None)["prediction"]
        assert part.dims == ("y", "x") and np.array_equal(part.values, image > 0)
        assert part.attrs["spacing"] == [0.25, 0.5] and part.attrs["classes"] == ["0", "1"]
        assert part["x"].values.tolist() == (np.arange(image.shape[1]) * 0.5).tolist()


def trained_for(folder: Path, model: Path, of: Problem) -> Path:
    """Make a run of a problem around a network; return the network's file."""
    folder.mkdir()
    freeze(folder / "run.yaml", frozen_settings(of, SearchSpace.image(of), 0, Limits(), {}))
    return model.rename(folder / "best.keras")


@pytest.mark.filterwarnings("ignore:.*Zarr V3 specification")
@pytest.mark.parametrize("how", ["vote", "mean", "resize"])
def test_images_larger_than_a_network_for_whole_images_are_predicted_as_in_training(
    model: Path, tmp_path: Path, how: str
) -> None:
    describe(output=(2,))
    model = trained_for(tmp_path / "run", model, problem(shapes=((16, 16, 1),), outputs=2, large_images=how))
    images = [np.full((40, 20), -1.0), np.full((5, 64), 1.0), np.full((16, 32), -1.0)]
    images[2][:, :12] = 3.0  # of the whole image more than half is negative, and the mean is positive
    source = of_unequal_sizes(tmp_path / "images.zarr", images, ("y", "x"))
    predicted = read(predict(model, source, tmp_path / "predicted.zarr"))
    assert predicted["prediction"].dims == ("sample",) and predicted["file"].values[1] == "1.tif"
    assert predicted["prediction"].attrs["classes"] == ["class 0", "class 1"]
    # of the two windows of the last image one is positive: a draw, and then the classes are equally probable too
    assert predicted["prediction"].values.tolist() == [0, 1, 1 if how == "resize" else 0]
    uniform = write(tmp_path / "equal.zarr", {"image": (("sample", "y", "x"), np.stack([images[2], -images[2]]))})
    share = read(predict(model, uniform, tmp_path / "shares.zarr", probabilities=True))["probability"].values
    assert share[:, 1].tolist() == ([1.0, 0.0] if how == "resize" else [0.5, 0.5])


def test_missing_values_are_the_mean_of_their_channel_as_in_training(model: Path, tmp_path: Path) -> None:
    describe(inputs=((16, 16, 2),))
    of = problem("segmentation", ((16, 16, 2),), outputs=2)
    of = replace(of, facts=replace(of.facts, mean=((-9.0, 4.0),)))
    model = trained_for(tmp_path / "run", model, of)
    image = np.ones((20, 20, 2), "float32")
    image[3, 4, 0], image[5, 6, 1], image[7, 8, :] = -999.0, np.nan, -999.0
    data = {"image": (("y", "x", "channel"), image, {"nodata": -999.0})}
    predicted = read(predict(model, write(tmp_path / "images.zarr", data), tmp_path / "predicted.zarr"))["prediction"]
    assert np.argwhere(predicted.values != 1).tolist() == [[3, 4], [7, 8]]
    assert (predicted.values[3, 4], predicted.values[7, 8]) == (0, 255)


def test_many_small_images_are_taken_together_in_a_block(model: Path, tmp_path: Path) -> None:
    image = noise(5000, 16, 16)
    source = write(tmp_path / "images.zarr", {"image": (("sample", "y", "x"), image)})
    target = predict(model, source, tmp_path / "predicted.zarr")
    assert np.array_equal(read(target)["prediction"].values, image > 0)
    assert zarr.open_array(target / "prediction").chunks == (4096, 16, 16)


def test_a_network_for_whole_images_gives_one_class_for_each(model: Path, tmp_path: Path) -> None:
    describe(output=(2,))
    image = noise(7, 16, 16)
    coords = {"y": np.arange(16), "day": ("sample", np.arange(7))}
    source = write(tmp_path / "images.zarr", {"image": (("sample", "y", "x"), image)}, **coords)
    predicted = read(predict(model, source, tmp_path / "predicted.zarr"))
    assert np.array_equal(predicted["prediction"].values, image.mean(axis=(1, 2)) > 0)
    assert list(predicted.coords) == ["day"]
    probabilities = read(predict(model, source, tmp_path / "probable.zarr", probabilities=True))["probability"]
    assert probabilities.dims == ("sample", "class") and probabilities["class"].values.tolist() == ["0", "1"]


def test_the_target_says_where_it_comes_from(model: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "images.zarr", {"image": (("y", "x"), noise(30, 20))})
    attributes = read(predict(model, source, tmp_path / "predicted.zarr", overlap=[4, 5])).attrs
    assert attributes["model"] == str(model) and len(attributes["model_sha256"]) == 64
    assert attributes["source"] == str(source) and attributes["variables"] == ["image"]
    assert attributes["tile"] == [16, 16] and attributes["overlap"] == [4, 5]


def test_children_are_closed_and_nothing_is_left_aside_after_a_failure(model: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "images.zarr", {"image": (("y", "x"), noise(30, 20))})
    (source / "image" / "c" / "0" / "0").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"images.zarr: image: \[0:30, 0:20\] cannot be read"):
        predict(model, source, tmp_path / "predicted.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.zarr", "trained.keras"]
    assert network.Network.opened == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({}, {"variable": "imgae"}, "expected a variable 'imgae', found none of that name; did you mean 'image'?"),
        ({}, {"variable": "time"}, "expected numbers"),
        ({}, {"variable": ["image", "image"]}, "expected 1 variables, for the views image, got image, image"),
        ({}, {"tile": 0}, "tile: expected at least 1 pixel, got 0 × 0"),
        ({}, {"overlap": 8}, "overlap: expected 0 to less than half a tile of 16 × 16 pixels, got 8 × 8"),
        ({}, {"tile": [8, 9, 9]}, "tile: expected one number, or 2, got 8 × 9 × 9"),
        ({"inputs": ((16, 16, 3),)}, {}, "expected as many channels as the network was trained on, 3, got 1"),
        ({"inputs": ((8, 8, 8, 1),), "output": (8, 8, 8, 2)}, {}, "expected 3 spatial dimensions, with or without"),
        ({"output": (2,)}, {}, "expected images of 16 × 16 pixels, as the network was trained on, got 30 × 20"),
        ({"output": (2,)}, {"tile": 16}, "predicts for whole images: expected neither a tile nor an overlap"),
        ({"output": (4, 4, 2)}, {}, "expected a label for each pixel of a tile of 16 × 16, got 4 × 4"),
        ({"activation": "linear"}, {"probabilities": True}, "probabilities: expected a network for classes, got"),
    ],
)
def test_what_does_not_suit_the_network_is_said_in_one_line(
    model: Path, tmp_path: Path, changes: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    describe(**changes)
    times = np.array([["2026-01-01"]], dtype="datetime64[ns]")
    source = write(tmp_path / "images.zarr", {"image": (("y", "x"), noise(30, 20)), "time": (("b", "c"), times)})
    with pytest.raises(UserError) as caught:
        predict(model, source, tmp_path / "predicted.zarr", **settings)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "predicted.zarr").exists()


def test_nothing_is_overwritten(model: Path, tmp_path: Path) -> None:
    (tmp_path / "predicted.zarr").mkdir()
    with pytest.raises(UserError, match=r"predicted.zarr: expected a new name; this one exists and is not overwritten"):
        predict(model, tmp_path / "images.zarr", tmp_path / "predicted.zarr")


def test_files_that_are_no_network_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.keras").touch()
    with pytest.raises(UserError, match=r"found no such file; did you mean 'other\.keras'"):
        predict(tmp_path / "othr.keras", tmp_path / "images.zarr", tmp_path / "predicted.zarr")
    (tmp_path / "run.yaml").touch()
    with pytest.raises(UserError, match=r"a search writes best\.keras when it ends, and menndl retrain .* at any time"):
        predict(tmp_path / "best.keras", tmp_path / "images.zarr", tmp_path / "predicted.zarr")
    (tmp_path / "best.keras").write_text("weights")
    with pytest.raises(UserError, match=r"expected a file in Keras format \.keras"):
        predict(tmp_path / "best.keras", tmp_path / "images.zarr", tmp_path / "predicted.zarr")


def test_positions_of_objects_are_written_beside_the_predictions(model: Path, tmp_path: Path) -> None:
    images = [np.full((20, 37), -1.0), np.full((16, 24), -1.0)]
    images[0][4:7, 10:13] = images[1][8:11, 2:5] = 1.0
    source = of_unequal_sizes(tmp_path / "images.zarr", images, ("y", "x"))
    said: list[str] = []
    predict(model, source, tmp_path / "predicted.zarr", positions=3, notice=said.append)
    assert said[-1] == f"positions: 2 in {tmp_path / 'predicted.csv'}"
    assert (tmp_path / "predicted.csv").read_text().splitlines() == [
        "file,y,x,class", "0.tif,5.00,11.00,1", "1.tif,9.00,3.00,1"
    ]  # fmt: skip
    describe(output=(2,))
    whole = write(tmp_path / "whole.zarr", {"image": (("sample", "y", "x"), noise(2, 16, 16))})
    with pytest.raises(UserError, match="positions: expected a class or a value for each pixel, without"):
        predict(model, whole, tmp_path / "classes.zarr", positions=3)
