"""Whatever a power cut leaves of a run directory, what was flushed is there afterwards, and the run can be opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from menndl_dask import files
from menndl_dask.run.journal import Journal, read_journal
from tests.crashes import Crashes, State


def asked(number: int) -> dict[str, object]:
    return {"event": "asked", "time": 1.0, "individual": {"id": number, "genome": {"genes": []}}}


def told(number: int) -> dict[str, object]:
    return {"event": "told", "time": 2.0, "id": number, "result": {"fitness": 0.5}, "individual": {"id": number}}


def results(path: Path) -> set[int]:
    return {event["id"] for event in read_journal(path, "told")} if path.exists() else set()


def search(folder: Path, crashes: Crashes | None = None) -> None:
    """Write a journal as a driver does: what was asked for is not flushed, results are, two in one write."""
    path = folder / "journal.jsonl"
    with Journal(path) as journal:
        first = max(results(path), default=-1) + 1
        journal.append([asked(first), asked(first + 1)], flush=False)
        for numbers in ((first,), (first + 1, first + 2)):
            journal.append([asked(number) for number in numbers], flush=False)
            journal.append([told(number) for number in numbers])
            if crashes is not None:
                crashes.promised = sorted(results(path))


def put(state: State, folder: Path) -> Path:
    folder.mkdir()
    for name, content in state.items():
        (folder / name).write_bytes(content)
    return folder


def check(crashes: Crashes, folder: Path) -> None:
    """Open the run in each state: all promised results are there, and none that was there is cut without a copy."""
    assert len(crashes.states) > 50
    for number, (state, promised) in enumerate(crashes.states):
        run = put(state, folder / str(number))
        path = run / "journal.jsonl"
        Journal(path).close()
        assert results(path) >= set(promised or ()), state
        before = state.get("journal.jsonl", b"")
        assert before in [each.read_bytes() for each in run.glob("journal.jsonl*")], state


def after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Path], None], promised: list[int]
) -> Crashes:
    """Return the crashes of a search in a prepared run."""
    folder = tmp_path / "run"
    folder.mkdir()
    prepare(folder)
    with monkeypatch.context() as watching:
        crashes = Crashes(folder, watching)
        crashes.promised = promised
        for path in folder.iterdir():
            crashes._flushed[path.stat().st_ino] = path.read_bytes()
        crashes._names = [crashes._now()[0]]
        search(folder, crashes)
    monkeypatch.setattr(os, "fsync", lambda file: None)  # from here on no power is cut
    return crashes


def test_a_power_cut_in_a_new_run_loses_no_flushed_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(after(tmp_path, monkeypatch, lambda folder: None, []), tmp_path)


def test_a_power_cut_while_a_damaged_journal_is_repaired_loses_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(folder: Path) -> None:
        search(folder)
        path = folder / "journal.jsonl"
        content = path.read_bytes()
        path.write_bytes(content[:80] + bytes(64) + content[144:-20])

    crashes = after(tmp_path, monkeypatch, damaged, [0, 1])
    check(crashes, tmp_path)


def test_a_power_cut_leaves_the_old_text_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    old, new = "old " * 50, "new " * 60
    files.write_text(folder / "run.yaml", old)
    with monkeypatch.context() as watching:
        crashes = Crashes(folder, watching)
        crashes._flushed = {(folder / "run.yaml").stat().st_ino: old.encode()}
        crashes._names = [crashes._now()[0]]
        crashes.promised = {old, new}
        files.write_text(folder / "run.yaml", new)
        crashes.promised = {new}
        crashes.look()
    assert len(crashes.states) > 5
    for state, promised in crashes.states:
        assert state["run.yaml"].decode() in promised
