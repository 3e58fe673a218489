"""Staging: once for all who ask, complete or not there, and in words where it cannot be done."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from menndl_dask.data import staging
from menndl_dask.data.data import open_problem, open_staged, stage
from menndl_dask.errors import DataError, NodeError, UserError
from menndl_dask.problem import Problem
from tests import stores


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    return open_problem(stores.write(stores.classification(), tmp_path / "data.zarr"))


def _directories(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.is_dir()]


def test_samples_are_staged_once_by_all_who_ask_at_the_same_time(problem: Problem, tmp_path: Path) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(stage(problem, tmp_path / "staged"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert _directories(tmp_path / "staged") == [found[0]] == list(set(found))


def test_what_is_staged_is_not_read_again(problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stage(problem, tmp_path)
    monkeypatch.setattr(staging, "problem_dataset", None)
    assert stage(problem, tmp_path) == first


def test_other_problems_are_staged_elsewhere(problem: Problem, tmp_path: Path) -> None:
    other = open_problem(problem.data, seed=1)
    assert stage(problem, tmp_path) != stage(other, tmp_path)


def test_networks_for_use_learn_from_the_validation_split_too(problem: Problem, tmp_path: Path) -> None:
    both = replace(problem, train_on=("train", "validation"))
    usual, together = stage(problem, tmp_path), stage(both, tmp_path)
    assert usual != together
    train, validation = (open_staged(usual, split) for split in ("train", "validation"))
    found = open_staged(together, "train")
    images = sorted(image.tobytes() for split in (train, validation) for image in split.images[0])
    assert sorted(image.tobytes() for image in found.images[0]) == images
    assert np.bincount(found.labels).tolist() == np.add(*map(np.bincount, (train.labels, validation.labels))).tolist()
    assert np.array_equal(open_staged(together, "test").labels, open_staged(usual, "test").labels)
    with pytest.raises(UserError, match=r"train_on: expected .*, got"):
        replace(problem, train_on=("test",))


def test_what_a_killed_process_left_is_removed(problem: Problem, tmp_path: Path) -> None:
    left = tmp_path / f".{staging._key(problem)}.123"
    left.mkdir()
    (left / "train-view0.npy").write_bytes(b"half")
    stage(problem, tmp_path)
    assert not left.exists()


def test_without_locks_the_first_copy_stays(problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    write = staging._write
    place = tmp_path / "staged"

    def overtaken(problem: Problem, dataset: Any, parts: Any, directory: Path) -> None:
        write(problem, dataset, parts, directory)
        (place / staging._key(problem)).mkdir()
        (place / staging._key(problem) / "first").touch()

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(staging, "_write", overtaken)
    target = stage(problem, place)
    assert [path.name for path in target.iterdir()] == ["first"]
    assert _directories(place) == [target]


def test_a_full_disk_is_told_and_leaves_nothing(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(staging, "_write", full)
    with pytest.raises(NodeError, match="samples cannot be staged: No space left on device"):
        stage(problem, tmp_path / "staged")
    assert _directories(tmp_path / "staged") == []


@pytest.mark.parametrize("patch", [None, (4, 4)])
def test_a_disk_that_becomes_full_is_told_and_no_half_file_is_left(
    tmp_path: Path, patch: tuple[int, int] | None
) -> None:
    of = open_problem(stores.write(stores.segmentation(24), tmp_path / "data.zarr"), patch=patch)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(NodeError, match=r"samples cannot be staged: (File too large|.* requested and .* written)"):
            stage(of, tmp_path / "staged")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert _directories(tmp_path / "staged") == []
    assert stage(of, tmp_path / "staged").is_dir()


def test_others_write_to_nothing_whatever_the_mask_is(problem: Problem, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        target = stage(problem, tmp_path / "staged")
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "staged").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in (target, target.parent)} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


@pytest.mark.parametrize("what", ["link", "fifo"])
def test_a_lock_that_is_a_link_or_a_fifo_is_neither_followed_nor_waited_for(
    problem: Problem, tmp_path: Path, what: str
) -> None:
    lock, other = tmp_path / "staged" / f".{staging._key(problem)}.lock", tmp_path / "other"
    lock.parent.mkdir()
    other.write_text("kept")
    if what == "fifo":
        os.mkfifo(lock)
        assert stage(problem, lock.parent).is_dir()
    else:
        lock.symlink_to(other)
        with pytest.raises(NodeError, match="samples cannot be staged: Too many levels of symbolic links"):
            stage(problem, lock.parent)
    assert other.read_text() == "kept"


def test_data_that_changed_is_not_staged(problem: Problem, tmp_path: Path) -> None:
    stores.classification(seed=1).to_zarr(tmp_path / "data.zarr", mode="w", zarr_format=3, consolidated=False)
    with pytest.raises(DataError, match=r"data\.zarr: the data has changed: expected fingerprint"):
        stage(problem, tmp_path / "staged")


def test_samples_that_were_not_staged_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected staged samples, found none"):
        open_staged(tmp_path, "train")


def test_samples_are_mapped_and_not_read(problem: Problem, tmp_path: Path) -> None:
    samples = open_staged(stage(problem, tmp_path), "train")
    assert isinstance(samples.images[0], np.memmap)
    assert isinstance(samples.labels, np.memmap)
