"""A run of version 0.1.0, as commit 907288d left it on a user's disk, is resumed, reported and used by this version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from menndl_dask.cli.cli import main
from menndl_dask.run.run import Run

ARCHIVE = Path(__file__).parent / "fixtures" / "run_0_1_0.tar.xz"
OPTIONS = ["--run", "runs/old", "--epochs", "6", "--workers", "1", "--max-parameters", "6000", "--retrain", "0"]
TOLD, IN_FLIGHT = 26, 2  # when its driver was killed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Unpack the images and the run, whose settings name the images by the path they had."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    settings = tmp_path / "runs" / "old" / "run.yaml"
    settings.write_text(settings.read_text().replace("/data/digits.zarr", str(tmp_path / "digits.zarr")))
    return tmp_path


def menndl(folder: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "200"}
    command = [sys.executable, "-m", "menndl_dask.cli", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def results(journal: Path) -> list[int]:
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    return [event["id"] for event in events if event["event"] == "told"]


def test_an_old_run_resumes_with_all_its_results_and_what_was_in_flight(folder: Path) -> None:
    journal = folder / "runs" / "old" / "journal.jsonl"
    before = journal.read_text()
    output = menndl(folder, "search", "digits.zarr", *OPTIONS, "--evaluations", str(TOLD + IN_FLIGHT + 1))
    assert journal.read_text().startswith(before)
    told = results(journal)
    assert len(told) == len(set(told)) == TOLD + IN_FLIGHT + 1
    assert "network 12" in output


def test_an_old_run_is_read_and_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "runs" / "old"
    run = Run(path)
    individual, result = run.best()
    assert (individual.id, result.fitness) == (11, pytest.approx(0.5833, abs=1e-4))
    failures = [result.failure for _, result in run.evaluations if result.failure]
    assert (len(failures), failures.count("no_learning")) == (10, 3)
    assert run.to_xarray().sizes["evaluation"] == TOLD
    monkeypatch.chdir(folder)
    assert main(["report", "runs/old"]) == 0
    assert "network 12" in (path / "report.html").read_text()


def test_the_best_network_of_an_old_run_predicts(folder: Path) -> None:
    menndl(folder, "predict", "runs/old/best.keras", "digits.zarr", "predicted.zarr", "--workers", "1")
    predicted = xr.open_zarr(folder / "predicted.zarr", consolidated=False)
    labels = xr.open_zarr(folder / "digits.zarr", consolidated=False)["label"].values
    found = predicted["prediction"].values
    assert found.shape == labels.shape
    assert np.mean(found.astype(int) == labels) > 0.4  # ten classes
