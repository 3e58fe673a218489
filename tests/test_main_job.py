"""The main job as a user types it: real trainings in real processes, a driver and a trainer killed in mid-run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from menndl_dask.cli.cli import main
from menndl_dask.report.conclusion import fittest
from menndl_dask.run.journal import read_journal
from menndl_dask.run.run import Run
from menndl_dask.search.comparison import trained_path
from tests import stores
from tests.processes import until

ASKED = 4
COMMAND = [sys.executable, "-m", "menndl_dask.cli"]
OPTIONS = [
    "--run", "runs/mine", "--workers", "1", "--evaluations", str(ASKED), "--epochs", "3", "--batch-size", "8",
    "--retrain", "2", "--finalists", "1", "--max-parameters", "5e3", "--max-layers", "4",
]  # fmt: skip


@dataclass(frozen=True)
class Story:
    """A run that was killed, carried on, hurt, and ended."""

    folder: Path
    told_before: list[int]
    output: str
    errors: str
    status: int

    @property
    def path(self) -> Path:
        return self.folder / "runs" / "mine"


def menndl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip


def environment(folder: Path) -> dict[str, str]:
    state = str(folder / "state")  # the key that signs runs: the same for the fixture and for each test
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "200", "XDG_STATE_HOME": state}


Here = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(story: Story, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Return what runs a command in this process, and returns its exit code, its output and its errors."""
    for name, value in environment(story.folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(story.folder)

    def run(*words: str) -> tuple[int, str, str]:
        status = main(words)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def started(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "search", "data.zarr", *OPTIONS],
        cwd=folder, env=environment(folder), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def told(folder: Path) -> list[int]:
    journal = folder / "runs" / "mine" / "journal.jsonl"
    return [event["id"] for event in read_journal(journal, "told")] if journal.exists() else []


def trainers(driver: int) -> list[psutil.Process]:
    """Return the processes that hold Keras for a driver's workers."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        try:
            if "menndl_dask.evaluation.trainer" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("main job")
    stores.write(stores.classification(90), folder / "data.zarr")
    first = started(folder)
    until(lambda: bool(told(folder)), first)
    children = psutil.Process(first.pid).children(recursive=True)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    psutil.wait_procs(children, timeout=150)
    assert not [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
    before = told(folder)
    second = started(folder)
    until(lambda: bool(trainers(second.pid)), second)
    os.kill(trainers(second.pid)[0].pid, signal.SIGKILL)
    output, errors = second.communicate(timeout=400)
    return Story(folder, before, output, errors, second.returncode)


def test_the_same_command_carries_on_after_the_driver_was_killed(story: Story) -> None:
    assert story.status == 0, story.errors
    counts = Counter(told(story.folder))
    assert sorted(counts) == list(range(ASKED))
    assert set(counts.values()) == {1}
    assert told(story.folder)[: len(story.told_before)] == story.told_before


def test_no_traceback_reaches_the_user(story: Story) -> None:
    assert "Traceback" not in story.errors + story.output
    assert "Warning" not in story.errors + story.output


def test_the_user_sees_progress_the_dashboard_and_the_table(story: Story) -> None:
    assert "data.zarr: classification of 8×6×2 images, 3 classes" in story.output
    assert "dashboard: http://127.0.0.1:" in story.output
    assert f"menndl {ASKED}/{ASKED} evaluations" in story.errors
    assert "networks/h" in story.errors
    assert "ResNet, small (budget × 2)" in story.output
    assert "test accuracy" in story.output
    assert "constant predictor" in story.output
    assert "On the test split: network" in story.output
    assert story.output.lower().count("conclusion: ") == 1 and story.output.splitlines()[-1].startswith("conclusion: ")


def test_the_report_tells_what_happened_and_how_the_networks_compare(story: Story) -> None:
    page = (story.path / "report.html").read_text()
    assert "Events" in page
    assert "On the test split" in page
    assert "menndl search data.zarr" in page or "cli.py search data.zarr" in page
    kinds = Counter(r.failure for _, r in Run(story.path).evaluations)
    assert kinds["killed"] <= 1  # the trainer that was killed may have been idle


def test_the_best_network_is_kept_and_told_apart_from_the_standard_one(story: Story) -> None:
    run = Run(story.path)
    assert [c.is_standard for c in run.alike].count(True) == 1
    assert len(run.alike) == 2
    best = fittest(run.alike)
    assert best is not None
    assert (story.path / "best.keras").read_bytes() == trained_path(story.path, best).read_bytes()
    assert f"best.keras: {best.name}, by the validation split" in story.output
    assert all("test_accuracy" in c.result.metrics for c in run.alike if c.result.succeeded)


def test_a_finished_run_is_not_trained_again(story: Story, here: Here) -> None:
    before = (story.path / "journal.jsonl").read_text()
    status, output, errors = here("search", "data.zarr", *OPTIONS)
    assert status == 0, errors
    assert "retraining for comparison" not in output
    after = (story.path / "journal.jsonl").read_text()
    assert after.count('"event":"compared"') == before.count('"event":"compared"')
    assert after.count('"event":"told"') == ASKED


def test_a_run_of_a_script_is_not_resumed_by_the_command_line(story: Story, here: Here) -> None:
    status, _, errors = here("resume", "runs/mine")
    assert status == 0, errors
    assert len(told(story.folder)) == ASKED


def test_the_report_of_a_run_can_be_written_anew(story: Story, here: Here) -> None:
    (story.path / "report.html").unlink()
    _, output, _ = here("report", "runs/mine")
    assert "On the test split" in output
    assert (story.path / "report.html").exists()


def test_the_network_predicts_on_new_images(story: Story, here: Here) -> None:
    words = ("predict", "runs/mine/best.keras", "data.zarr", "predicted.zarr", "--workers", "1")
    predicted = menndl(story.folder, *words)
    assert predicted.returncode == 0, predicted.stderr
    assert (story.folder / "predicted.zarr" / "zarr.json").exists()
    status, _, errors = here(*words)
    assert status == 2
    assert "predicted.zarr" in errors
    assert len(errors.splitlines()) == 1


def test_another_search_in_the_same_directory_is_refused_in_one_line(here: Here) -> None:
    status, output, errors = here("search", "data.zarr", *OPTIONS, "--seed", "1")
    assert status == 2
    assert "seed" in errors
    assert len(errors.splitlines()) == 1
    assert "starting the workers" not in output
