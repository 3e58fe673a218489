"""Every script in workflows/, run as a user runs it, with a tiny budget."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from menndl_dask.run.run import Run

ROOT = Path(__file__).parents[1]
CLOUDS = Path(os.environ.get("MENNDL_CLOUDS_DATA", ROOT / "../shared/data/cloud_l8biome_patches/l8biome_patches.npz"))
pytestmark = pytest.mark.timeout(600)  # seconds where the machine is idle, minutes where it is not
TINY = ["--workers", "1", "--evaluations", "2", "--epochs", "1", "--retrain", "1", "--finalists", "1"]


def run_script(name: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the folder `workflows` in a folder of its own."""
    return subprocess.run(
        [sys.executable, ROOT / "workflows" / name, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def searched(name: str, folder: Path, run: str, *words: str) -> Run:
    """Run a script to its end and return what it searched."""
    ended = run_script(name, folder, *TINY, *words)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "On the test split" in ended.stdout
    assert (folder / run / "best.keras").is_file() and (folder / run / "report.html").is_file()
    found = Run(folder / run)
    assert len(list(found.evaluations)) == 2
    return found


def test_the_defects_script_simulates_searches_and_compares(tmp_path: Path) -> None:
    run = searched("stem_defects.py", tmp_path, "runs/stem", "--images", "20", "--size", "16", "--material", "ws2")
    assert run.problem is not None
    assert run.problem.facts.classes == ("background", "tungsten", "sulfur column", "sulfur vacancy", "molybdenum")
    data = xr.open_zarr(tmp_path / "runs/stem/ws2-20x16-seed0.zarr", consolidated=False)
    assert data["image"].shape == (20, 16, 16, 1)


def test_the_digits_script_searches_and_compares(tmp_path: Path) -> None:
    run = searched("digits.py", tmp_path, "runs/digits")
    assert run.problem is not None and run.problem.task == "classification"
    assert run.problem.facts.input_shapes == ((8, 8, 1),) and run.problem.facts.outputs == 10


def write_patches(path: Path) -> Path:
    """Write patches laid out as those of the clouds script: bright where there is a cloud."""
    rng = np.random.default_rng(0)
    label = rng.choice(np.array([0, 1, 2, 3, 255], "uint8"), size=(9, 4, 4), p=[0.5, 0.3, 0.05, 0.1, 0.05])
    label = label.repeat(8, axis=1).repeat(8, axis=2)
    image = rng.integers(0, 300, (9, 2, 32, 32)) + 700 * np.isin(label, (1, 3))[:, np.newaxis]
    split = np.array(["train"] * 5 + ["val"] * 2 + ["test"] * 2)
    np.savez(path, image=image.astype("int16"), label=label, scale=np.array([1e-3, 1e-2]), split=split)
    return path


def test_the_clouds_script_cuts_chips_and_keeps_each_patch_in_its_split(tmp_path: Path) -> None:
    patches = write_patches(tmp_path / "patches.npz")
    run = searched("clouds.py", tmp_path, "runs/clouds", "--data", str(patches), "--chip", "16")
    assert run.problem is not None
    assert run.problem.facts.classes == ("clear", "cloud") and run.problem.facts.samples == (20, 8, 8)
    data = xr.open_zarr(tmp_path / "runs/clouds/clouds-16.zarr", consolidated=False)
    with np.load(patches) as file:
        third = file["image"][0, :, 16:, :16] * file["scale"][:, np.newaxis, np.newaxis]  # of the first patch
        truth = file["label"][0, 16:, :16]
    assert data["image"][2].values == pytest.approx(np.moveaxis(third, 0, -1), rel=1e-6)
    assert np.array_equal(data["label"][2] == 1, np.isin(truth, (1, 3)))
    assert np.array_equal(data["label"][2] == 255, truth == 255)


def test_the_clouds_script_runs_on_the_landsat_patches(tmp_path: Path) -> None:
    if not CLOUDS.is_file():
        pytest.skip(f"no Landsat 8 patches at {CLOUDS}; MENNDL_CLOUDS_DATA names another place")
    run = searched("clouds.py", tmp_path, "runs/clouds", "--data", str(CLOUDS), "--chip", "32", "--epochs", "0.25")
    assert run.problem is not None and run.problem.facts.samples == (23 * 64, 8 * 64, 5 * 64)


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("stem_defects.py", ["--images", "3"], "--images: expected at least 10, for samples in each split, got 3"),
        ("stem_defects.py", ["--size", "8"], "--size: expected at least 16 pixels, got 8"),
        ("clouds.py", ["--data", "nowhere.npz"], "nowhere.npz: expected an .npz file with patches, found no such file"),
        ("clouds.py", ["--data", "patches.npz", "--chip", "12"], "--chip: expected a divisor of (32, 32), got 12"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, script: str, words: list[str], message: str) -> None:
    write_patches(tmp_path / "patches.npz")
    ended = run_script(script, tmp_path, *words)
    assert ended.returncode == 2
    assert message in ended.stderr and ended.stderr.count("\n") == 1
