"""Every script in workflows/, run as a user runs it, with a tiny budget."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import xarray as xr

from menndl_dask.program.guard import guarded
from menndl_dask.run.run import Run
from tests.landsat import write_biomes
from tests.neuron_files import write_flyem

ROOT = Path(__file__).parents[1]
CLOUDS = os.environ.get("MENNDL_CLOUDS_DATA")
TINY = ["--workers", "1", "--evaluations", "2", "--epochs", "1", "--retrain", "1", "--finalists", "1"]


def run_script(name: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the folder `workflows` in a folder of its own."""
    return subprocess.run(
        [sys.executable, ROOT / "workflows" / name, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=590,
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


def test_the_defects_script_searches_compares_and_scores_and_its_network_finds_atoms_in_frames(tmp_path: Path) -> None:
    tiny = ["--images", "20", "--size", "16", "--material", "ws2", "--score-frames", "1", "--dose", "4", "90"]
    run = searched("stem_defects.py", tmp_path, "runs/stem", *tiny)
    assert run.problem is not None
    assert run.problem.facts.classes == ("background", "tungsten", "sulfur column", "sulfur vacancy", "molybdenum")
    _check_times(tmp_path / "runs/stem")
    data = xr.open_zarr(tmp_path / "runs/stem/ws2-20x16-dose4to90-seed0.zarr", consolidated=False)
    assert data["image"].shape == (20, 16, 16, 1) and float(data["dose"].min()) >= 4
    rows = (tmp_path / "runs/stem/scores.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 10 * 5  # of two networks, ten conditions, five classes
    assert any(row.startswith("U-Net, small") or '"U-Net, small' in row for row in rows)

    with mrcfile.new(tmp_path / "frame.mrc") as file:  # as a microscope writes it: counts, and pixels of 0.28 Å
        file.set_data(np.random.default_rng(0).poisson(50, (24, 20)).astype("uint16"))
        file.voxel_size = 0.28
    ended = run_script("stem_frames.py", tmp_path, "runs/stem", "frame.mrc", "found", "--resample")
    assert ended.returncode == 0, ended.stderr
    assert "resampled: from pixels of 0.28 Å to 0.1" in ended.stdout and "found in 1 frame: " in ended.stdout
    assert (tmp_path / "found/atoms.csv").read_text().startswith("frame,class,y_angstrom,x_angstrom,at_edge")
    images = xr.open_zarr(tmp_path / "found/frames.zarr", consolidated=False)["image"]
    assert images.shape[1] > 40 and images.attrs["spacing_unit"] == "Å" and float(images.max()) <= 1.5
    np.save(tmp_path / "frame.npy", np.zeros((20, 20)))
    ended = run_script("stem_frames.py", tmp_path, "runs/stem", "frame.npy", "other")
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1
    assert "frame.npy: expected the size of a pixel in Å or nm, got none; give it in Å" in ended.stderr


def _check_times(path: Path, workers: int = 1) -> None:
    """Check that what was recorded of the workers' time adds up to the wall time of all of them within 2 %."""
    events = [json.loads(line) for line in (path / "journal.jsonl").read_text().splitlines()]
    results = sorted((e["result"] for e in events if e["event"] == "told"), key=lambda result: result["began"])
    begin = next(e["time"] for e in events if e["event"] == "asked")
    end = max(e["time"] for e in events if e["event"] == "told")
    assert next(e["slots"] for e in events if e["event"] == "workers") == workers
    phases = sum(seconds for result in results for phase, seconds in result["times"].items() if phase != "total")
    gaps = idle = 0.0
    for worker in {result["worker"] for result in results}:
        own = [result for result in results if result["worker"] == worker]
        ends = [result["began"] + result["times"]["total"] for result in own]
        gaps += sum(after["began"] - before for after, before in zip(own[1:], ends, strict=False))
        idle += own[0]["began"] - begin + end - ends[-1]
    assert phases + gaps + idle == pytest.approx(workers * (end - begin), rel=0.02)
    found = Run(path).usage()
    assert (found.wall_s, sum(found.parts.values())) == pytest.approx((end - begin, workers * (end - begin)))
    assert found.parts["other"] <= 0.02 * workers * found.wall_s
    assert (found.parts["wait"], found.parts["idle"]) == pytest.approx((gaps, idle), abs=0.05 * workers)


def test_the_script_of_two_views_evolves_networks_with_two_inputs_of_unequal_size(tmp_path: Path) -> None:
    run = searched("two_views.py", tmp_path, "runs/two_views", "--events", "120")
    assert run.problem is not None and run.problem.inputs == ("xz", "yz")
    assert run.problem.facts.input_shapes == ((32, 24, 1), (24, 24, 1)) and run.problem.facts.outputs == 6


def test_the_digits_script_searches_and_compares(tmp_path: Path) -> None:
    run = searched("digits.py", tmp_path, "runs/digits")
    assert run.problem is not None and run.problem.task == "classification"
    assert run.problem.facts.input_shapes == ((8, 8, 1),) and run.problem.facts.outputs == 10


def test_the_clouds_script_searches_on_chips_of_scenes_as_they_are_downloaded(tmp_path: Path) -> None:
    write_biomes(tmp_path / "biomes")
    folders = [str(tmp_path / "biomes" / biome) for biome in ("Barren", "SnowIce")]
    run = searched(
        "clouds.py", tmp_path, "runs/clouds", "--data", *folders, "--task", "classification", "--chip", "8"
    )  # fmt: skip
    assert run.problem is not None and (run.problem.task, run.problem.group) == ("classification", "scene")
    assert run.problem.facts.classes == ("clear", "cloud") and run.problem.facts.samples == (64, 16, 16)
    assert run.problem.facts.input_shapes == ((8, 8, 8),)
    with (tmp_path / "runs/clouds/scenes.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["chips"] == "16" and float(row["share of cloud"]) == 0.5 and float(row["random forest"]) > 0.9


def test_the_clouds_script_runs_on_the_landsat_patches(tmp_path: Path) -> None:
    if CLOUDS is None:
        pytest.skip("MENNDL_CLOUDS_DATA names no Landsat 8 patches")
    run = searched("clouds.py", tmp_path, "runs/clouds", "--data", CLOUDS, "--chip", "32", "--epochs", "0.25")
    assert run.problem is not None and run.problem.facts.samples == (23 * 64, 8 * 64, 5 * 64)


def test_the_script_for_neurons_scores_networks_and_a_forest_on_the_test_volume(tmp_path: Path) -> None:
    write_flyem(tmp_path / "flyem")
    tiny = ["--workers", "1", "--evaluations", "2", "--steps", "2", "--retrain", "1", "--finalists", "1"]
    ended = run_script("em_neurons.py", tmp_path, "--data", "flyem", "--patch", "8", *tiny)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "On the test split" in ended.stdout and "test volume: test" in ended.stdout
    with (tmp_path / "runs/em_neurons/neurons.csv").open(encoding="utf-8") as file:
        rows = {
            row["network"]: {key: float(row[key]) for key in row if key != "network"} for row in csv.DictReader(file)
        }
    assert len(rows) == 4 and {"U-Net, small", "random forest", "the true boundaries"} < set(rows)
    assert rows["random forest"]["accuracy"] > 0.9 > rows["random forest"]["VI merge"]
    assert rows["the true boundaries"]["boundary F1"] == 1


@pytest.mark.parametrize(
    ("page", "script"),
    [
        ("clouds", "clouds"),
        ("em_neurons", "em_neurons"),
        ("stem", "stem_defects"),
        ("stem", "stem_frames"),
        ("two_views", "two_views"),
    ],
)
def test_the_commands_of_a_page_have_the_options_of_its_script(page: str, script: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    commands = re.findall(rf"^python workflows/{script}\.py(.*)$", text, re.MULTILINE)
    assert commands
    for command in commands:
        import_module(script).parser().parse_args(shlex.split(command))


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("stem_defects.py", ["--images", "3"], "--images: expected at least 10, for samples in each split, got 3"),
        ("stem_defects.py", ["--size", "8"], "--size: expected at least 16 pixels, got 8"),
        ("em_neurons.py", ["--data", "biomes"], "biomes: expected a folder with sample_….hdf (CREMI), train-input.tif"),
        ("stem_defects.py", ["--dose", "9", "3"], "--dose: expected two numbers ≥ 0.1, the lower one first, got 9 3"),
        ("stem_defects.py", ["--score-frames", "-1"], "--score-frames: expected a number ≥ 0, got -1"),
        ("stem_frames.py", [".", "patches.npz", "out"], "expected a run of workflows/stem_defects.py or a"),
        ("two_views.py", ["--events", "50"], "--events: expected at least 120, 20 a segment, got 50"),
        ("two_views.py", ["--segments", "7"], "--segments: expected a divisor of 48 planes, at least 2, got 7"),
        ("two_views.py", ["--views", "xz", "xz"], "--views: expected each view once, got xz xz"),
        ("clouds.py", ["--data", "nowhere"], "nowhere: expected an .npz file with patches or a folder of scenes"),
        (
            "clouds.py",
            ["--data", "biomes", "--chip", "48"],
            "--chip: expected 1 to 32 pixels, the size of the smallest",
        ),
        ("clouds.py", ["--data", "biomes", "--share", "0.4"], "--share: expected 0.5 to 1, got 0.4"),
        ("clouds.py", ["--data", "biomes", "--chips", "0"], "--chips: expected at least 1, got 0"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    words: list[str],
    message: str,
) -> None:
    if "biomes" in words:
        write_biomes(tmp_path / "biomes")
    monkeypatch.chdir(tmp_path)
    main = import_module(script.removesuffix(".py")).main
    assert guarded(lambda: int(main(words))) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


@pytest.mark.parametrize("script", sorted((ROOT / "workflows").glob("*.py")), ids=lambda script: script.stem)
def test_a_mistake_would_be_one_line_of_a_command_too(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert "def main(" not in text or text.endswith(
        'if __name__ == "__main__":\n    sys.exit(workflow.guarded(main))\n'
    )
