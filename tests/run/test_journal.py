"""The journal: what is appended is read back, damage shows, and one driver writes at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.errors import RunError
from menndl_dask.run.journal import Journal, check_free, is_whole, line_of, read_journal

EVENTS = [{"event": "note", "time": float(n), "message": f"Größe {n}\nnew line"} for n in range(5)]


def journal(folder: Path, events: list[dict[str, object]] = EVENTS) -> Path:
    path = folder / "journal.jsonl"
    with Journal(path) as opened:
        opened.append(events)
    return path


def messages(path: Path) -> list[object]:
    return [event["time"] for event in read_journal(path)]


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    path = journal(tmp_path)
    with Journal(path) as opened:
        opened.append([{"event": "told", "time": 5.0, "id": 0}], flush=False)
    read = list(read_journal(path))
    assert [{k: v for k, v in event.items() if k != "crc"} for event in read[:5]] == EVENTS
    assert [event["id"] for event in read_journal(path, "told")] == [0]
    assert len(read) == 6


def test_every_line_is_json_that_others_can_read(tmp_path: Path) -> None:
    lines = journal(tmp_path).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["message"] for line in lines] == [event["message"] for event in EVENTS]


@given(st.dictionaries(st.text(max_size=5), st.text() | st.floats(allow_nan=False) | st.none(), max_size=4), st.data())
def test_any_change_of_a_byte_shows(values: dict[str, object], data: st.DataObject) -> None:
    line = line_of({"event": "note", **values})
    assert is_whole(line)
    place = data.draw(st.integers(0, len(line) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != line[place]))
    assert not is_whole(line[:place] + bytes([byte]) + line[place + 1 :])


@pytest.mark.parametrize("cut", [1, 2, 15, 30, 60])
def test_a_torn_last_line_is_passed_over_and_cut_off(tmp_path: Path, cut: int) -> None:
    path = journal(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert messages(path) == [0, 1, 2, 3]
    with Journal(path) as opened:
        assert opened.dropped == len(whole.splitlines(keepends=True)[-1]) - cut
        opened.append(EVENTS[-1:])
    assert path.read_bytes() == whole


def test_a_last_batch_of_which_nothing_is_whole_is_passed_over(tmp_path: Path) -> None:
    path = journal(tmp_path)
    path.write_bytes(path.read_bytes() + b"\0" * 100 + b"\n" + b"\0" * 50)
    assert messages(path) == [0, 1, 2, 3, 4]


def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = journal(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"time":2.0', b'"time":7.0'))
    with pytest.raises(RunError, match=r"journal\.jsonl: line 3: expected a whole event"):
        messages(path)
    with pytest.raises(RunError, match="line 3"):
        Journal(path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    Journal(path).close()  # the failed opening has let go of the lock


def test_the_second_driver_is_told_who_holds_the_run(tmp_path: Path) -> None:
    held = rf"held by another driver \(host \S+, process {os.getpid()}, since .*one at a time"
    with Journal(tmp_path / "journal.jsonl"), pytest.raises(RunError, match=held):
        Journal(tmp_path / "journal.jsonl")


def test_a_file_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_free(tmp_path / "none")
    for run in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match="expected a run directory, got a file of that name or on the way to it"):
            check_free(run)


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from menndl_dask.run.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1])); journal.append([{'event': 'note', 'time': 0.0}], flush=False)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "journal.jsonl")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"process {holder.pid}"):
            Journal(tmp_path / "journal.jsonl")
        holder.kill()
    Journal(tmp_path / "journal.jsonl").close()
    assert messages(tmp_path / "journal.jsonl") == [0]


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def half(file: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[: len(data) // 2])

    path = journal(tmp_path)
    with Journal(path) as opened:
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(RunError, match="cannot be written: No space left"):
            opened.append(EVENTS)
        monkeypatch.undo()
        assert messages(path) == [0, 1, 2, 3, 4]
        opened.append(EVENTS[:1])
    assert messages(path) == [0, 1, 2, 3, 4, 0]


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunError, match=r"cannot be locked .*a file system with locks"):
        Journal(tmp_path / "journal.jsonl")


def test_a_journal_that_is_no_file_is_an_error_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        Journal(tmp_path / "journal.jsonl")
    with pytest.raises(RunError, match="cannot be read"):
        messages(tmp_path / "journal.jsonl")


def test_who_only_looks_at_the_lock_keeps_no_driver_out(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.jsonl").close()
    with (tmp_path / ".lock").open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        moment = threading.Timer(0.03, fcntl.flock, (looking, fcntl.LOCK_UN))
        moment.start()
        Journal(tmp_path / "journal.jsonl").close()
        moment.join()
