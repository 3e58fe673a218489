"""Simulated events of a detector with two views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from detector_simulation import Detector, simulate, write_events

QUIET = Detector(shower=0.0, muons=0.0, dead=0.0, noise=0.0, efficiency=1.0)


def test_tracks_begin_in_the_segment_that_the_label_names() -> None:
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        *images, segment = simulate(QUIET, rng)
        planes = [view + 2 * np.flatnonzero(image.any(axis=0)) for view, image in enumerate(images)]
        if len(planes[0]) and len(planes[1]):
            first = min(planes[0][0], planes[1][0])
            inside.append(first <= (segment + 1) * 8 + 2)
    assert len(inside) > 180 and np.mean(inside) > 0.95


def test_muons_noise_and_dead_planes_change_an_image() -> None:
    def mean(detector: Detector) -> float:
        rng = np.random.default_rng(1)
        return float(np.mean([sum(image.sum() for image in simulate(detector, rng)[:2]) for _ in range(300)]))

    usual = mean(QUIET)
    assert mean(Detector(shower=0.0, muons=2.0, dead=0.0, noise=0.0, efficiency=1.0)) > 1.3 * usual
    assert mean(Detector(shower=0.0, muons=0.0, dead=0.0, noise=0.05, efficiency=1.0)) > 1.1 * usual
    assert mean(Detector(shower=0.0, muons=0.0, dead=1.0, noise=0.0, efficiency=1.0)) < 0.85 * usual


def test_the_store_has_two_views_of_unequal_size_and_the_same_seed_gives_the_same_events(tmp_path: Path) -> None:
    first, again = (write_events(tmp_path / f"{name}.zarr", Detector(), 40, 3) for name in "ab")
    data = xr.open_zarr(first, consolidated=False, chunks=None).load()
    assert data["xz"].shape == (40, 32, 24, 1) and data["yz"].shape == (40, 24, 24, 1)
    assert data["label"].attrs["classes"][:2] == ["planes 0-7", "planes 8-15"]
    assert int(data["label"].max()) == 5 and float(data["xz"].min()) == 0.0
    assert data.identical(xr.open_zarr(again, consolidated=False, chunks=None).load())
    other = xr.open_zarr(write_events(tmp_path / "c.zarr", Detector(), 40, 4), consolidated=False)
    assert not data["xz"].equals(other["xz"])
