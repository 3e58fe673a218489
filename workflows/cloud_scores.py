"""How well clouds are found in each test scene, by a network and by a random forest. Runs on the driver."""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import xarray as xr
from sklearn.ensemble import RandomForestClassifier

from menndl_dask import predict
from menndl_dask.terminal import say
from menndl_dask.text import TextTable

_TREES = 100
_CHIPS, _PIXELS = 4_000, 50_000  # that the forest learns from
_HEAD = ("scene", "biome", "chips", "share of cloud", "best network", "random forest")


def score_scenes(run: Path, store: Path, fill: int, seed: int) -> list[tuple[str, str, int, float, float, float]]:
    """Score ``best.keras`` of a run and a random forest on each test scene; print the table and write ``scenes.csv``.

    Scores are accuracies, of chips or of labelled pixels. The forest learns from at most 4,000 chips of the training
    scenes. It sees the mean, standard deviation, least and largest value of each band of a chip, or a pixel's values.
    """
    data = xr.open_zarr(store, consolidated=False, mask_and_scale=False)
    splits = np.array(data["split"].values.tolist())
    learnt = np.flatnonzero(splits == "train")
    drawn = np.random.default_rng(seed).choice(learnt, min(len(learnt), _CHIPS), replace=False)
    train, test = data.isel(sample=np.sort(drawn)), data.isel(sample=splits == "test").load()
    with TemporaryDirectory(dir=run) as folder:
        images = test[["image"]].drop_encoding().chunk(-1)
        images.to_zarr(Path(folder) / "test.zarr", zarr_format=3, consolidated=False)
        target = predict(run / "best.keras", Path(folder) / "test.zarr", Path(folder) / "predicted.zarr")
        network = xr.open_zarr(target, consolidated=False, mask_and_scale=False)["prediction"].values
    label, scenes = test["label"].values, np.array(test["scene"].values.tolist())
    forest = _forest(train, test, fill, seed)
    rows = []
    for name in np.unique(scenes).tolist():
        here = scenes == name
        known = label[here] != fill
        truth = label[here][known]
        right = [float(np.mean(found[here][known] == truth)) if truth.size else np.nan for found in (network, forest)]
        biome = str(test["biome"].values[here][0])
        rows.append((name, biome, int(here.sum()), float(truth.mean()) if truth.size else np.nan, *right))
    shown = [[name, biome, str(chips), *(f"{value:.3f}" for value in more)] for name, biome, chips, *more in rows]
    say(TextTable(_HEAD, shown, left=(0, 1), title="Accuracy on each test scene:"))
    with (run / "scenes.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([_HEAD, *rows])
    say(f"the table: {run / 'scenes.csv'}")
    return rows


def _forest(train: xr.Dataset, test: xr.Dataset, fill: int, seed: int) -> np.ndarray:
    """Return the classes of the test chips, or of their pixels, by a random forest."""
    forest = RandomForestClassifier(_TREES, n_jobs=-1, random_state=seed)
    by_pixel = test["label"].ndim > 1
    seen, labels = _features(train["image"].values, by_pixel), train["label"].values.ravel()
    known = np.flatnonzero(labels != fill)
    known = np.random.default_rng(seed).choice(known, min(len(known), _PIXELS), replace=False)
    forest.fit(seen[known], labels[known])
    return forest.predict(_features(test["image"].values, by_pixel)).reshape(test["label"].shape)


def _features(images: np.ndarray, by_pixel: bool) -> np.ndarray:
    if by_pixel:
        found = images.reshape(-1, images.shape[-1])
    else:
        found = np.concatenate([each(images, axis=(1, 2)) for each in (np.mean, np.std, np.min, np.max)], axis=1)
    return np.nan_to_num(found, nan=-1.0)
