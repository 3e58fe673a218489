"""Tests of `menndl_dask.cluster.dask_config`: a user's configuration neither stops a cluster nor changes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dask
import pytest
import yaml

from menndl_dask.cluster import dask_config
from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.cluster.profile import Local

HOSTILE = {
    "temporary-directory": "/proc/none",
    "scheduler-address": "tcp://127.0.0.1:1",
    "distributed": {
        "comm": {"require-encryption": True, "default-scheme": "ucx", "tls": {"ca-file": "/none"}},
        "nanny": {"preload": ["none"], "pre-spawn-environ": {"CUDA_VISIBLE_DEVICES": "none"}},
        "worker": {"preload": ["none"], "resources": {"GPU": 1}, "lifetime": {"duration": "1 s"}},
        "scheduler": {"preload": ["none"], "allowed-failures": 7, "idle-timeout": "1 s"},
        "dashboard": {"link": "{NONE}/{port}"},
        "deploy": {"lost-worker-timeout": "nonsense"},
    },
}


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a configuration that is the user's while the test runs."""
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(HOSTILE))
    collect, contains = dask.config.collect, dask.config.paths_containing_key
    monkeypatch.setattr(dask.config, "collect", lambda paths=(tmp_path,), env=None: collect([*map(str, paths)], env))
    monkeypatch.setattr(dask.config, "paths_containing_key", lambda key: contains(key, [str(tmp_path)]))
    return file


def test_a_local_cluster_works_whatever_the_user_has_configured_and_says_what_it_does_not_follow(
    configured: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        dask.config.set(HOSTILE),
        load_cluster(Local(workers=1, dashboard_port=None)) as cluster,
        cluster.client() as client,
    ):
        assert client.submit(sum, (1, 2)).result(timeout=150) == 3
        assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures) == 0
    said = [record.getMessage() for record in caplog.records if record.name == dask_config.__name__]
    assert said[0].startswith(f"Dask's temporary-directory ({configured}): expected a folder that can be written to")
    assert said[1].startswith("settings of Dask without effect on workers that are started here: distributed.")
    assert f"({configured})" in said[1] and len(said) == 2
    assert all(len(line) <= 700 for line in said)


def test_a_configuration_that_dask_cannot_load_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("distributed:\n\tworker: 1\n")
    run = subprocess.run(
        [sys.executable, "-m", "menndl_dask.cli", "cluster", "check", "local"],
        env={**os.environ, "DASK_CONFIG": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "x.yaml" in run.stderr and run.stderr.count("\n") == 1 and len(run.stderr) <= 501, run.stderr
