"""What commands run of the code that a run names: the run of another user is data, one's own goes on by itself."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from menndl_dask.cli import search
from menndl_dask.cli.cli import main
from menndl_dask.errors import UserError
from menndl_dask.program.guard import state_folder
from menndl_dask.result import Result
from menndl_dask.run.journal import line_of
from menndl_dask.run.run import Run
from menndl_dask.run.signature import Signed
from menndl_dask.search.initial_networks import initial_networks
from tests.problems import problem
from tests.runs import recorder
from tests.stories import evaluations

Words = list[str]
CODE = ("trap:loss", "trap:Layer")
_ARGUMENTS = ["search", "data.zarr", "--loss", "trap:loss", "--cluster", "site.yaml", "--epochs", "1"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a run with a loss, a metric and gene kinds whose module leaves a mark, and with a profile; not signed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'MARK')!r}, 'w').close()\n")
    (tmp_path / "site.yaml").write_text("kind: slurm\nscript_prologue: ['touch MARK']\n")
    _begin(tmp_path / "run")
    yield tmp_path / "run"
    assert not (tmp_path / "MARK").exists()
    assert "trap" not in sys.modules


def _begin(path: Path, **signed: object) -> None:
    of = replace(problem(), loss="trap:loss", metric="trap:metric", augmentation=("trap:Turn",))
    individual = evaluations(1)[0][0]
    genome = individual.genome.to_dict()
    genome["genes"].append({"kind": "trap:Layer", "inputs": [1], "join": "concatenate", "slope": "<b>\u202e"})
    extra = {"arguments": _ARGUMENTS, "command": "menndl search", **signed}
    with recorder(path, of, **extra) as opened:
        opened.started(evaluations=2, hours=None, **extra)
        asked = {"event": "asked", "time": 1.0, "individual": {**individual.to_dict(), "genome": genome}}
        told = {"event": "told", "time": 2.0, "id": individual.id, "result": Result(0.5).to_dict()}
        opened.note("\x1b[2J a note")
    with (path / "journal.jsonl").open("ab") as journal:
        journal.write(line_of(asked) + line_of(told))


def _sign(path: Path, words: Words = _ARGUMENTS) -> None:
    shutil.rmtree(path)
    of = replace(problem(), loss="trap:loss", metric="trap:metric", augmentation=("trap:Turn",))
    signed = Signed.of(words, of.data, path.parent / "site.yaml", [*of.code, "trap:Layer"])
    _begin(path, signed=json.loads(json.dumps(signed.to_dict())))


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[argparse.Namespace]:
    """Collect what `menndl resume` would search for."""
    found: list[argparse.Namespace] = []

    def search_for(given: argparse.Namespace, words: Words) -> int:
        found.append(given)
        return 0

    monkeypatch.setattr(search, "search", search_for)
    return found


def test_reading_a_run_imports_none_of_the_code_that_it_names(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(run)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    read = Run(run)
    assert read.problem is not None and read.problem.loss == "trap:loss"
    (layer,) = (gene for gene in read.best().individual.genome.genes if gene.to_dict()["kind"] == "trap:Layer")
    assert layer.to_dict()["slope"] == "<b>\u202e"
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "trap:Layer" in page
    assert "<b>" not in page and "\u202e" not in page


def test_the_run_of_another_user_is_resumed_by_its_command_only(
    run: Path, searched: list[argparse.Namespace], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", str(run), "--evaluations", "9"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"menndl {' '.join(_ARGUMENTS)} --evaluations 9 --run {run}" in told
    assert "a version before 0.4.0 began it" in told
    _sign(run)
    _as_another_user(run)
    assert main(["resume", str(run)]) == 2
    assert "another user began it" in capsys.readouterr().err
    assert not searched


def test_a_run_of_ones_own_goes_on_without_more_words_also_where_it_was_copied(
    run: Path, searched: list[argparse.Namespace], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _sign(run)
    shutil.copytree(run, tmp_path / "other" / "copy")
    monkeypatch.chdir(tmp_path / "other")
    assert main(["resume", "copy", "--workers", "3"]) == 0
    (given,) = searched
    assert (given.loss, given.workers, given.run) == ("trap:loss", 3, Path("copy"))
    assert given.cluster == str(tmp_path / "site.yaml")  # the words have no folder, the signature has


def _as_another_user(run: Path) -> None:
    """Replace the key."""
    (state_folder() / "key").unlink()


def _with_another_word(run: Path) -> None:
    path = run / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    event = json.loads(lines[0])
    del event["crc"]
    event["signed"]["arguments"][-1] = "7"
    path.write_bytes(b"".join([line_of(event), *lines[1:]]))


def _with_another_profile(run: Path) -> None:
    (run.parent / "site.yaml").write_text("kind: slurm\nscript_prologue: ['touch OTHER']\n")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_as_another_user, "another user began it"),
        (_with_another_word, "or it was changed"),
        (_with_another_profile, "its cluster profile is not as it was when you began the run"),
    ],
)
def test_what_was_changed_after_it_was_signed_is_not_followed(
    run: Path,
    change: Callable[[Path], None],
    told: str,
    searched: list[argparse.Namespace],
    capsys: pytest.CaptureFixture[str],
) -> None:
    _sign(run)
    change(run)
    assert main(["resume", str(run)]) == 2
    assert told in (line := capsys.readouterr().err)
    assert line.count("\n") == 1
    assert not searched


def test_a_profile_that_was_changed_is_followed_where_it_is_named_again(
    run: Path, searched: list[argparse.Namespace]
) -> None:
    _sign(run)
    _with_another_profile(run)
    assert main(["resume", str(run), "--cluster", "site.yaml"]) == 0
    assert searched[0].cluster == "site.yaml"


def test_networks_of_another_user_are_retrained_on_data_and_with_code_that_is_named(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = problem().data
    assert main(["retrain", str(run)]) == 2
    told = capsys.readouterr().err
    assert f"menndl retrain {run} --retrain 4 --data {data} --import trap:" in told
    assert all(name in told for name in (*CODE, "trap:metric", "trap:Turn"))


def test_an_earlier_search_with_code_of_another_user_is_carried_on_where_that_is_named(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["menndl", "search", "data.zarr", "--run", str(run)])
    assert main(["search", "data.zarr", "--run", str(run), "--evaluations", "3"]) == 2
    assert f"menndl search data.zarr --run {run} --import trap:Turn trap:loss" in capsys.readouterr().err


def test_a_search_does_not_begin_with_networks_of_unknown_kinds(run: Path) -> None:
    with pytest.raises(UserError, match="the same command with --import trap:Layer"):
        initial_networks([str(run)], problem())


def test_without_a_key_there_is_no_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    signed = Signed.of(["search"], "", None, [])
    assert not signed.signature and not signed.is_own
