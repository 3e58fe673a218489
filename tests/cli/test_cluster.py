"""The commands around clusters, as a user types them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from menndl_dask import workflow
from menndl_dask.cli.cli import main
from menndl_dask.errors import ExitCode
from menndl_dask.run import stop_request
from menndl_dask.run.recorder import Recorder
from menndl_dask.run.run import Run
from menndl_dask.search.plan import plan
from menndl_dask.search.plan.trial import Trial
from menndl_dask.search.search import Search
from tests import stores
from tests.evaluations import SPACE


@pytest.fixture
def profile(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    jobqueue = {"cores": 8, "memory": "8GB", "queue": "batch"}
    path.write_text(yaml.safe_dump({"kind": "slurm", "shared_directory": str(tmp_path), "jobqueue": jobqueue}))
    return str(path)


def test_the_job_script_is_printed_and_nothing_is_started(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "script", profile]) == 0
    script = capsys.readouterr().out
    assert script.startswith("#!/usr/bin/env bash\n")
    assert "#SBATCH -p batch\n" in script
    assert main(["cluster", "check", profile]) == 0
    checked = capsys.readouterr().out
    told = "no walltime is given, dask-jobqueue asks for 00:30:00: a job may run for 30 min; "
    told += "workers accept no evaluation in the last 3 min\n"
    assert checked == script + told + "nothing was started; --try starts one job and inspects its workers\n"


def test_a_shipped_profile_can_be_looked_at_before_it_is_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["cluster", "script", "frontier"]) == 0
    assert "#SBATCH -A <project>\n" in capsys.readouterr().out
    assert main(["search", "nowhere.zarr", "--evaluations", "1", "--cluster", "frontier", "--detach"]) == 2


def test_a_check_says_what_is_to_be_filled_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "check", "frontier"]) == 1
    assert "to be filled in, in a copy of the profile: jobqueue: account: <project>\n" in capsys.readouterr().out


def test_a_check_says_where_the_workers_of_a_profile_without_jobs_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text, told in (
        ("kind: local\nworkers: 1", "on this machine: 1 worker without a GPU\n"),
        ("kind: local\ngpus: 2\ngpu_vendor: amd", "on this machine: 2 GPUs: AMD; one worker each\n"),
        ("kind: scheduler\naddress: tcp://10.0.0.1:8786", "the workers of the scheduler at tcp://10.0.0.1:8786\n"),
    ):
        (tmp_path / "mine.yaml").write_text(text)
        assert main(["cluster", "check", str(tmp_path / "mine.yaml")]) == 0
        said = capsys.readouterr().out
        assert said.startswith(told)
        assert said.endswith("nothing was started; --try inspects them\n")


def test_a_profile_without_jobs_has_no_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "script", "local"]) == 2
    assert "local: expected the profile of a batch system" in capsys.readouterr().err


def test_a_check_of_this_machine_looks_at_its_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("kind: local\nworkers: 1\ndashboard_port: null\n")
    assert main(["cluster", "check", str(path), "--try"]) == 0
    said = capsys.readouterr().out
    assert "1 of 1 workers on 1 node" in said
    assert "Keras on tensorflow computes on" in said
    assert "All is well." in said


def test_stop_and_status_need_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop", str(tmp_path / "nowhere")]) == 2
    assert "expected a run with a driver, got none" in capsys.readouterr().err
    assert main(["status", str(tmp_path / "nowhere")]) == 2
    assert "expected a run directory, got none" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert [main([command, str(tmp_path / "file")]) for command in ("stop", "status")] == [2, 2]
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_driver_is_asked_to_stop_and_its_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.freeze(_settings(tmp_path))
        assert main(["stop", str(tmp_path)]) == 0
        assert stop_request.reason(tmp_path) == "asked to stop"
        assert main(["status", str(tmp_path)]) == 0
        said = capsys.readouterr().out
        assert "running (host" in said
        assert "asked to stop" in said
        assert "progress:   0 evaluations" in said
    assert main(["status", str(tmp_path)]) == 0
    assert "none; it was asked to stop; the command that began the run carries on" in capsys.readouterr().out
    stop_request.withdraw(tmp_path)
    assert main(["status", str(tmp_path)]) == 0
    assert "none; the command that began the run carries on" in capsys.readouterr().out
    assert list(Run(tmp_path).evaluations) == []


def test_no_workers_are_asked_for_a_run_that_another_driver_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stores.write(stores.classification(), tmp_path / "data.zarr")
    words = ["search", str(tmp_path / "data.zarr"), "--run", str(tmp_path / "run"), "--evaluations", "1"]
    monkeypatch.setattr(plan, "run_trial", lambda *_: Trial(0.01, 1.0))
    monkeypatch.setattr(workflow, "load_cluster", lambda *_, **__: pytest.fail("workers were asked for"))
    with Recorder(tmp_path / "run"):
        assert main(words) == 2  # no length of a training is given: it is planned
    assert "run: held by another driver (host" in capsys.readouterr().err


def test_who_interrupts_a_look_at_a_profile_is_promised_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("menndl_dask.cluster.profile.read_profile", interrupted)
    assert main(["cluster", "check", "slurm"]) == ExitCode.STOPPED
    assert capsys.readouterr().err == "\nstopped\n"


def _settings(path: Path) -> dict[str, object]:
    from menndl_dask.problem import Limits
    from menndl_dask.run.settings import frozen_settings

    search = Search(None, SPACE, path)
    return frozen_settings(None, search.space, search.seed, Limits(), {})
