"""Files and folders appear and vanish whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from menndl_dask import files


def test_a_text_that_cannot_be_written_whole_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    files.write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(path, "new \ud800")
    assert path.read_text() == "old"


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with files.replacing(tmp_path / "run.zarr") as partial:
            (partial / name).mkdir(parents=True)
            files.remove_folder(tmp_path / "run.zarr")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["run.zarr", "run.zarr/new"]


def test_what_fails_half_way_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "best.keras"
    path.write_text("old")

    def fail() -> None:
        with files.replacing(path) as partial:
            partial.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_removing_a_folder_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    files.remove_folder(tmp_path / "nothing")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_aside_is_swept_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".run.zarr.123" / "fitness").mkdir(parents=True)
    (tmp_path / ".run.zarr.124.removed").mkdir()
    (tmp_path / ".run.zarr.125").write_text("")
    (tmp_path / "run.zarr").mkdir()
    (tmp_path / ".lock").write_text("")
    files.sweep(tmp_path, "run.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "run.zarr"]
