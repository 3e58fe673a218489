"""Cluster profiles: mistakes in them are one line that names file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from menndl_dask.cli.cli import main
from menndl_dask.cluster import profile as profiles
from menndl_dask.cluster.batch.site import Site
from menndl_dask.cluster.profile import Local, Scheduler, read_profile, shipped_profiles
from menndl_dask.errors import ProfileError

MISTAKES = {
    "kind: lokal": r"kind: expected one of local, scheduler, slurm, .*, got 'lokal'; did you mean 'local'\?",
    "workers: 2": "kind: expected one of local, scheduler, slurm, .*, got None",
    "kind: local\nworker: 2": r"unknown key 'worker' for kind local; known are workers, .*; did you mean 'workers'\?",
    "kind: local\nworkers: four": "workers: expected an integer from 1 to 10000, got 'four'",
    "kind: local\nworkers: true": "workers: expected an integer from 1 to 10000, got True",
    "kind: local\nworkers: 0": "workers: expected an integer from 1 to 10000, got 0",
    "kind: local\ndashboard_port: 99999": "dashboard_port: expected a port, 0 to 65535, or null, got 99999",
    "kind: local\naddress: tcp://a:1": "unknown key 'address' for kind local",
    "kind: local\ngpus: 2": "expected gpus and gpu_vendor together, got 2 and None",
    "kind: local\ngpus: 2\ngpu_vendor: nvida": "gpu_vendor: expected one of nvidia, amd, intel, got 'nvida'",
    "kind: local\ngpus: 0\ntrainers_per_gpu: 2": "trainers_per_gpu: expected nothing without gpus, got 2",
    "kind: scheduler": "expected either address or scheduler_file, got neither",
    "kind: scheduler\naddress: tcp://a:1\nscheduler_file: b": "expected either address or scheduler_file, got both",
    "kind: scheduler\naddress: 8786": "address: expected a text, got 8786",
    "kind: scheduler\naddress: tcp://a:1\ntimeout_s: -1": "timeout_s: expected a number > 0, got -1",
    "- local": r"expected keys with values, got \['local'\]",
    "kind: [": "cannot be read",
}


@pytest.mark.parametrize("name", shipped_profiles())
def test_every_shipped_profile_is_valid(name: str) -> None:
    assert isinstance(read_profile(name), (Local, Scheduler, Site))


@pytest.mark.parametrize("kind", ["kind: local", "kind: slurm\njobqueue: {cores: 4, memory: 8GB}"])
def test_a_key_that_was_removed_is_read_with_a_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(kind)
    expected = read_profile(file)
    assert not caplog.records
    file.write_text(f"{kind}\nprepare_ahead: true\n")
    assert read_profile(file) == expected
    assert caplog.messages == [f"{file}: prepare_ahead was removed and has no effect"]


def test_a_profile_says_where_the_workers_are(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("kind: local\nworkers: 3\ndashboard_port: null\n")
    assert read_profile(path) == Local(workers=3, dashboard_port=None)
    path.write_text("kind: scheduler\naddress: tcp://10.0.0.1:8786\ntimeout_s: 2.5\n")
    assert read_profile(str(path)) == Scheduler(address="tcp://10.0.0.1:8786", timeout_s=2.5)


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line_that_names_file_and_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=r"mine\.yaml: .*" + MISTAKES[text]) as caught:
        read_profile(path)
    assert "\n" not in str(caught.value)


def test_the_schema_for_editors_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    # made by: menndl cluster schema > clusters/profile.schema.json
    assert main(["cluster", "schema"]) == 0
    assert capsys.readouterr().out == (profiles._folder() / "profile.schema.json").read_text(encoding="utf-8")


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(ProfileError, match=r"cluster 'locl': expected a YAML file or one of .*local.*mean 'local'\?"):
        read_profile("locl")
    with pytest.raises(ProfileError, match="no such file"):
        read_profile("clusters/nowhere.yaml")


def test_profiles_are_found_where_the_package_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(profiles.menndl_dask, "__file__", str(tmp_path / "menndl_dask" / "__init__.py"))
    monkeypatch.setattr(profiles.resources, "files", lambda name: Path(__file__).parents[2] / name.rpartition(".")[2])
    assert "local" in shipped_profiles()
