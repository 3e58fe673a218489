"""The command ``menndl predict``, as its page shows it."""

from __future__ import annotations

import re
import shlex
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster

from menndl_dask.cli.cli import main
from menndl_dask.prediction import network
from tests import runs
from tests.prediction.test_prediction import Known
from tests.problems import problem

PAGE = (Path(__file__).parents[2] / "docs" / "predict.md").read_text(encoding="utf-8")


@contextmanager
def in_this_process(*_: Any, **__: Any) -> Iterator[SimpleNamespace]:
    """Stand in for `load_cluster`."""
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster:
        yield SimpleNamespace(client=lambda: Client(cluster))


@pytest.mark.filterwarnings("ignore:.*Zarr V3 specification")
def test_the_commands_of_the_page_do_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("menndl_dask.cluster.cluster.load_cluster", in_this_process)
    monkeypatch.setattr(network, "Network", type("Mine", (Known,), {}))
    # what the reader has by then: a run with two kept networks, and images
    of = problem("segmentation", ((16, 16, 1),), outputs=2, augmentation=("flip",))
    run = runs.finished(tmp_path / "runs" / "mine", runs.made_up(3), of)
    kept = [individual for individual, result in run.evaluations if result.fitness is not None][:2]
    for path in (run.path / "best.keras", *(run.path / "networks" / i.name / "network.keras" for i in kept)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("config.json", "{}")
    image = np.random.default_rng(0).normal(size=(3, 20, 24)).astype("float32")
    np.savez("new_images.npz", image=image)
    labelled = xr.Dataset({"image": (("sample", "y", "x"), image), "label": (("sample", "y", "x"), (image > 0) * 1)})
    labelled.to_zarr("labelled_images.zarr", consolidated=False)
    labelled[["image"]].to_zarr("new_images.zarr", consolidated=False)

    commands = re.findall(r"^menndl (predict .*)$", PAGE, re.MULTILINE)
    assert len(commands) >= 6
    for command in commands:
        assert main(shlex.split(command)) == 0
        target = shlex.split(command)[3]
        found = xr.open_zarr(target, consolidated=False, chunks=None)["prediction"]
        assert np.array_equal(found.values, image > 0)
    said = capsys.readouterr().out
    assert "images of " in said and "written: averaged.zarr" in said
    assert "mean IoU of 3 images: 1.0000; of each image: mean 1.0000, from 1.0000 to 1.0000\n" in said
    averaged, flipped = (xr.open_zarr(name, consolidated=False).attrs for name in ("averaged.zarr", "flipped.zarr"))
    assert len(averaged["model"]) == 2 and averaged["flips"] == [[], [0], [1], [0, 1]]
    assert flipped["flips"] == [[], [1]] and flipped["model"].endswith("best.keras")
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        exec(block, {"__name__": "page"})
