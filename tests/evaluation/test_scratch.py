"""Scratch space: shared while somebody uses it, gone with the last one, and no litter of the killed."""

from __future__ import annotations

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


def test_a_place_that_belongs_to_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 4711)
    with pytest.raises(NodeError, match=r"menndl-4711: expected a directory of this user, it belongs to user \d+"):
        Scratch.shared("data", tmp_path)


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_the_place_of_all_directories_is_nobodys_own(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the name of a directory"):
        Scratch.shared(name, tmp_path)
