"""Files and folders appear and vanish whole."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
import time
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
    with files.replacing(tmp_path / "report.html") as partial:
        partial.write_text("")
        files.sweep(tmp_path, "run.zarr")
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", partial.name, "run.zarr"]
        for path in (partial, tmp_path / ".backup.20261130"):  # the second is the user's
            path.write_text("")
        files.sweep(tmp_path, older_s=60.0)
        assert partial.exists()
        for path in (partial, tmp_path / ".backup.20261130"):
            os.utime(path, (time.time() - 100, time.time() - 100))
        files.sweep(tmp_path, older_s=60.0)
        assert sorted(path.name for path in tmp_path.iterdir()) == [".backup.20261130", ".lock", "run.zarr"]
        partial.write_text("")


def test_what_a_killed_replacement_leaves_is_found_by_the_sweep(tmp_path: Path) -> None:
    with files.replacing(tmp_path / "a.txt") as partial:
        partial.write_text("")
        assert files.leftovers(tmp_path, "a.txt") == [partial]
        partial.rename(tmp_path / "kept")
        (tmp_path / "kept").rename(partial)


def in_place_of(path: Path, kind: str) -> None:
    """Put something that is no file in place of one."""
    path.parent.mkdir(exist_ok=True)
    if kind == "a symbolic link":
        path.symlink_to(path.with_name("elsewhere"))
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a fifo":
        os.mkfifo(path)
    elif kind == "a device":
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # zeros without end
    else:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(str(path))


KINDS = ["a symbolic link", "a folder", "a fifo", "a socket", *(["a device"] if os.geteuid() == 0 else [])]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_not_opened_and_never_waited_for(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    path = Path("a.txt")
    Path("elsewhere").write_text("secret")
    in_place_of(path, kind)
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_RDWR):
        with pytest.raises(OSError, match=f"expected a file, got {kind}"):
            files.open_regular(path, flags)
    with pytest.raises(OSError, match=f"got {kind}"):
        files.read_text(path)
    assert Path("elsewhere").read_text() == "secret"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can put a file in the place of a device")
def test_no_file_takes_the_place_of_a_device(tmp_path: Path) -> None:
    in_place_of(tmp_path / "null", "a device")
    with pytest.raises(OSError, match="expected a file, got a device"):
        files.write_text(tmp_path / "null", "new")
    assert stat.S_ISCHR((tmp_path / "null").lstat().st_mode)
    assert files.leftovers(tmp_path) == []


def test_a_dangling_link_is_not_followed_when_a_file_is_made(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic link"):
        files.open_regular(tmp_path / "a.txt", os.O_WRONLY | os.O_CREAT)
    files.write_text(tmp_path / "a.txt", "new")
    assert not (tmp_path / "victim").exists()
    assert not (tmp_path / "a.txt").is_symlink()


def test_folders_of_a_run_that_are_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim" / "inner").mkdir(parents=True)
    (tmp_path / "victim" / "inner" / "a.txt").write_text("old")
    run = tmp_path / "run"
    run.mkdir()
    (run / "folder").symlink_to(tmp_path / "victim")
    path = run / "folder" / "inner" / "a.txt"
    for action in (
        lambda: files.open_regular(path, root=run), lambda: files.read_text(path, root=run),
        lambda: files.write_text(path, "new", root=run),
    ):  # fmt: skip
        with pytest.raises(OSError, match="expected folder to be a folder, got a symbolic link"):
            action()
    assert path.read_text() == "old"
    (tmp_path / "link").symlink_to(run)  # the run itself may lie elsewhere
    files.write_text(tmp_path / "link" / "b.txt", "new", root=tmp_path / "link")
    assert (run / "b.txt").read_text() == "new"


def test_the_name_of_what_is_written_cannot_be_prepared_for_it(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("old")
    for number in {os.getpid(), threading.get_native_id()}:
        (tmp_path / f".a.txt.{number}").symlink_to(tmp_path / "victim")
    files.write_text(tmp_path / "a.txt", "new")
    with files.replacing(tmp_path / "a.txt") as first, files.replacing(tmp_path / "a.txt") as second:
        assert first != second
        for partial in (first, second):
            os.close(files.create(partial))
            with pytest.raises(FileExistsError):
                files.create(partial)
    assert (tmp_path / "victim").read_text() == "old"


def test_removing_a_link_to_a_folder_removes_the_link(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "data").write_text("old")
    (tmp_path / "run.zarr").symlink_to(tmp_path / "victim")
    (tmp_path / ".run.zarr.123").symlink_to(tmp_path / "victim")
    files.remove_folder(tmp_path / "run.zarr")
    files.sweep(tmp_path, "run.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["victim"]
    assert (tmp_path / "victim" / "data").read_text() == "old"


def test_a_text_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfGr\xc3\xb6\xc3\x9fe")
    assert files.read_text(tmp_path / "a.txt") == "Größe"
    with pytest.raises(OSError, match="expected at most 5 bytes") as refused:
        files.read_text(tmp_path / "a.txt", at_most=5)
    assert refused.value.errno == errno.EFBIG
    (tmp_path / "a.txt").write_bytes(b"ab\xff")
    with pytest.raises(OSError, match="UTF-8, got another form at byte 2"):
        files.read_text(tmp_path / "a.txt")


def test_no_file_is_open_to_all_for_writing(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files.write_text(tmp_path / "a.txt", "")
        files.new_folder(tmp_path / "b" / "c")
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        assert not path.stat().st_mode & stat.S_IWOTH


def test_a_new_folder_may_exist_but_not_be_a_file(tmp_path: Path) -> None:
    files.new_folder(tmp_path / "a" / "b")
    files.new_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "a"):
        with pytest.raises(OSError, match="file"):
            files.new_folder(path)
