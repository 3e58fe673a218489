"""Memory: of all processes of a training, without what the system may drop, and each page once."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from menndl_dask.evaluation import memory
from menndl_dask.evaluation.memory import Memory, resident_bytes


def test_memory_of_mapped_files_does_not_count(tmp_path: Path) -> None:
    size = 64_000_000
    np.save(tmp_path / "large.npy", np.ones(size // 8))
    before = resident_bytes(os.getpid())
    mapped = np.load(tmp_path / "large.npy", mmap_mode="r")
    assert mapped.sum() == size // 8  # every page has been read
    assert resident_bytes(os.getpid()) - before < size / 2
    held = np.ones(size // 8)
    assert resident_bytes(os.getpid()) - before > size * 0.9
    assert len(held) == len(mapped)


def test_memory_is_known_where_the_system_has_no_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_PROC", tmp_path / "proc")
    assert resident_bytes(os.getpid()) > 1e7


def test_a_process_that_is_gone_holds_no_memory() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert resident_bytes(process.pid) == 0


def test_shared_pages_are_not_counted_exactly_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def proportional(process: int) -> int:
        asked.append(process)
        return 30

    monkeypatch.setattr(memory, "family", lambda training: [training, 2])
    monkeypatch.setattr(memory, "resident_bytes", lambda _: 60)
    monkeypatch.setattr(memory, "_proportional_bytes", proportional)
    monkeypatch.setattr(memory, "_SPARING", 1e9)
    found = Memory(1, 100)
    assert [found.excess() for _ in range(3)] == ["", "", ""]
    assert asked == [1, 2]


def test_what_is_too_much_is_told_with_the_largest_process(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {1: 1_000_000, 2: 5_000_000, 3: 2_000_000, 4: 0}
    monkeypatch.setattr(memory, "family", lambda _: list(sizes))
    monkeypatch.setattr(memory, "resident_bytes", sizes.get)
    monkeypatch.setattr(memory, "_proportional_bytes", lambda process: sizes[process] - 100_000 * (process < 4))
    monkeypatch.setattr(memory, "_name", lambda _: "fox")
    told = "it and 2 processes that it started held 8 MB where 6 MB are allowed, most of it process 2 (fox) with 5 MB"
    assert Memory(1, 6_000_000).excess() == told
    assert Memory(1, 8_000_000).excess() == ""
    assert Memory(1, None).excess() == ""
