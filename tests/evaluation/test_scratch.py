"""Scratch space: shared while somebody uses it, gone with the last one, and no litter of the killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from menndl_dask.errors import NodeError
from menndl_dask.evaluation.scratch import Scratch

USER = """
import sys
from pathlib import Path
from menndl_dask.evaluation.scratch import Scratch
scratch = Scratch.shared("data", Path(sys.argv[1]))
print(scratch.path, flush=True)
sys.stdin.read()
print(scratch.release(), flush=True)
"""


def _user(base: Path) -> subprocess.Popen[str]:
    """Start a process that uses a scratch directory until its standard input is closed."""
    arguments = [sys.executable, "-c", USER, str(base)]
    user = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert user.stdout is not None
    assert Path(user.stdout.readline().strip()).is_dir()
    return user


def test_the_last_user_removes_the_directory(tmp_path: Path) -> None:
    first, second = Scratch.shared("data", tmp_path), Scratch.shared("data", tmp_path)
    (first.path / "file").write_text("samples")
    assert not first.release()
    assert (second.path / "file").read_text() == "samples"
    assert second.release()
    assert list(second.path.parent.iterdir()) == []


def test_users_are_processes(tmp_path: Path) -> None:
    user = _user(tmp_path)
    mine = Scratch.shared("data", tmp_path)
    assert user.communicate("")[0] == "False\n"
    assert mine.path.is_dir()
    assert mine.release()


def test_a_user_that_waits_for_a_dying_one_removes_the_directory(tmp_path: Path) -> None:
    mine = Scratch.shared("data", tmp_path)
    with _user(tmp_path) as user:
        user.kill()
        assert mine.release(patience=10)
    assert not mine.path.exists()


def test_a_user_that_waits_leaves_alone_what_others_have_begun_to_use_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Scratch.shared("data", tmp_path), Scratch.shared("data", tmp_path)
    third: list[Scratch] = []

    def end_and_begin(_: float) -> None:
        assert second.release()
        third.append(Scratch.shared("data", tmp_path))

    monkeypatch.setattr("menndl_dask.evaluation.scratch.time.sleep", end_and_begin)
    assert first.release(patience=10)
    assert third[0].path.is_dir()
    assert third[0].release()


def test_what_the_killed_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with _user(tmp_path) as user:
        user.kill()
    home = next(tmp_path.iterdir())
    assert (home / "data").is_dir()
    other = Scratch.shared("other", tmp_path)
    assert sorted(path.name for path in home.iterdir()) == ["other", "other.in-use"]
    assert other.release()


@pytest.mark.parametrize("what", ["link", "fifo", "file"])
def test_what_others_have_put_in_the_place_is_not_followed(what: str, tmp_path: Path) -> None:
    place, other = tmp_path / "tmp" / f"menndl-{os.getuid()}", tmp_path / "other"
    (other / "data").mkdir(parents=True)
    (other / "data.in-use").touch()
    place.parent.mkdir()
    {"link": lambda: place.symlink_to(other), "fifo": lambda: os.mkfifo(place), "file": place.touch}[what]()
    with pytest.raises(NodeError, match=r"menndl-\d+: expected a directory, got (a symbolic link|something else)$"):
        Scratch.shared("data", tmp_path / "tmp")
    assert (other / "data").is_dir()


@pytest.mark.parametrize("name", ["data.in-use", "left.in-use", "data"])
@pytest.mark.parametrize("what", ["link", "fifo"])
def test_links_and_fifos_inside_are_neither_followed_nor_waited_for(name: str, what: str, tmp_path: Path) -> None:
    place, other = tmp_path / f"menndl-{os.getuid()}", tmp_path / "other"
    place.mkdir()
    other.mkdir()
    (other / "kept").touch()
    if what == "link":
        (place / name).symlink_to(other / "kept" if name.endswith(".in-use") else other)
    else:
        os.mkfifo(place / name)
    if name == "left.in-use":
        assert Scratch.shared("data", tmp_path).release()
    else:
        with pytest.raises(NodeError, match=r"expected a (file|directory), got |cannot be written to: "):
            Scratch.shared("data", tmp_path)
    assert (other / "kept").exists()


def test_others_write_to_nothing_whatever_the_mask_is(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        (tmp_path / f"menndl-{os.getuid()}").mkdir()  # by an earlier version, perhaps
        scratch = Scratch.shared("data", tmp_path)
        Scratch.shared("data", tmp_path / "new" / "disk").release()
    finally:
        os.umask(before)
    found = [scratch.path.parent, *scratch.path.parent.iterdir()]
    assert sorted(oct(path.stat().st_mode & 0o777) for path in found) == ["0o600", "0o700", "0o700"]
    assert [oct((tmp_path / path).stat().st_mode & 0o777) for path in ("new", "new/disk")] == ["0o755", "0o755"]
    assert scratch.release()


def test_a_file_system_without_modes_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (tmp_path / f"menndl-{os.getuid()}").mkdir(mode=0o755)
    monkeypatch.setattr(Path, "chmod", refuse)
    assert Scratch.shared("data", tmp_path).release()


def test_a_place_that_belongs_to_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 4711)
    with pytest.raises(NodeError, match=r"menndl-4711: expected a directory of this user, it belongs to user \d+"):
        Scratch.shared("data", tmp_path)


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_the_place_of_all_directories_is_nobodys_own(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the name of a directory"):
        Scratch.shared(name, tmp_path)
