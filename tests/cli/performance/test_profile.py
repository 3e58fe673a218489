"""The command ``menndl profile``: what it prints and writes, around a measurement that is made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from menndl_dask.cli.cli import main
from menndl_dask.performance import profile
from tests.performance.profiles import PROFILE
from tests.runs import finished, made_up


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    monkeypatch.setattr(profile, "profile", lambda *given: found.append(given) or PROFILE)
    return found


def test_it_prints_the_tables_and_writes_the_picture_into_the_run(
    tmp_path: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished(tmp_path / "run", made_up(12))
    assert main(["profile", str(run.path), "--batch-sizes", "1", "16", "--precision", "bfloat16"]) == 0
    (_, _, batches, precision, _) = asked[0]
    assert (list(batches), precision) == ([1, 16], "bfloat16")
    printed = capsys.readouterr().out
    assert "Layers, each alone, forward" in printed
    assert (run.path / "profile.svg").read_text(encoding="utf-8").startswith("<svg ")


def test_as_json_it_prints_nothing_else(tmp_path: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    run = finished(tmp_path / "run", made_up(12))
    picture = tmp_path / "mine.svg"
    assert main(["profile", str(run.path), "--json", "--picture", str(picture)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["convolution_flops_per_s"] == 80e9 and found["picture"] == str(picture)
    assert picture.exists() and len(asked) == 1
