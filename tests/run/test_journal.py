"""The journal: what is appended is read back, damage shows, and one driver writes at a time."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask import files
from menndl_dask.errors import JournalError, RunError
from menndl_dask.run.journal import Journal, check_free, holder, is_whole, line_of, read_journal
from menndl_dask.run.journal_line import parts_of

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


@pytest.mark.parametrize("cut", [2, 15, 30, 60])
def test_a_torn_last_line_is_passed_over_and_set_aside(tmp_path: Path, cut: int) -> None:
    path = journal(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert messages(path) == [0, 1, 2, 3]
    with Journal(path) as opened:
        assert opened.dropped == len(whole.splitlines(keepends=True)[-1]) - cut
        assert "a torn line at its end" in opened.repairs[0]
        opened.append(EVENTS[-1:])
    assert path.read_bytes() == whole
    assert [copy.read_bytes() for copy in copies(tmp_path)] == [whole[:-cut]]


def test_a_last_batch_of_which_nothing_is_whole_is_passed_over(tmp_path: Path) -> None:
    path = journal(tmp_path)
    path.write_bytes(path.read_bytes() + b"\0" * 100 + b"\n" + b"\0" * 50)
    assert messages(path) == [0, 1, 2, 3, 4]


def copies(folder: Path) -> list[Path]:
    return sorted(folder.glob("journal.jsonl.dropped-*"))


def as_jq_writes(value: object) -> object:
    """Return a value as jq 1.6 prints it: 3.0 as 3, and NaN as null."""
    if isinstance(value, dict):
        return {key: as_jq_writes(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_jq_writes(each) for each in value]
    if isinstance(value, float):
        return None if value != value else int(value) if value.is_integer() and abs(value) < 1e17 else value
    return value


RESULT = {
    "fitness": 1.0, "costs": {"parameters": 2494, "flops_forward": 122496.0, "memory_bytes": 286908416},
    "metrics": {"loss": float("nan")}, "curve": [{"epoch": 2.0, "share": 1.0, "loss": 0.25}], "seed": 7,
    "message": 'it said {"event":"told"}, "crc":"00000000"}',
}  # fmt: skip
GENOME = {"genes": [{"kind": "Dropout", "rate": 0.5}, {"kind": "Dense", "units": 10}]}
TOLD = [
    {"event": "started", "time": 1.0, "evaluations": 24, "hours": 2.0},
    {"event": "asked", "time": 1.5, "individual": {"id": 0, "parents": [], "origin": "random", "genome": GENOME}},
    {"event": "told", "time": 3.0, "id": 0, "result": RESULT},
    {"event": "note", "time": 4.0, "message": "Größe ☃ \ud800"},
]
REWRITTEN = {
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "spaces": lambda data: data.replace(b"\n", b" \t\n"),
    "blank lines": lambda data: b"\n" + data.replace(b"\n", b"\n\n\n"),
    "no last newline": lambda data: data[:-1],
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "UTF-16 without mark": lambda data: data.decode().encode("utf-16-le"),
    "UTF-32": lambda data: data.decode().encode("utf-32"),
    "one line": lambda data: data.replace(b"\n", b""),
    "jq -c": lambda data: b"".join(b"%s\n" % dumped(each, separators=(",", ":")) for each in data.splitlines()),
    "jq": lambda data: b"".join(b"%s\n" % dumped(each, indent=2) for each in data.splitlines()),
    "jq -s": lambda data: b"[\n" + b",\n".join(dumped(each, indent=1) for each in data.splitlines()) + b"\n]\n",
    "Python": lambda data: b"".join(b"%s\n" % json.dumps(json.loads(each)).encode() for each in data.splitlines()),
}


def dumped(line: bytes, **how: object) -> bytes:
    written = as_jq_writes(json.loads(line))
    return json.dumps(written, ensure_ascii=False, **how).encode(errors="backslashreplace")  # type: ignore[arg-type]


@pytest.mark.parametrize("how", REWRITTEN)
def test_a_journal_that_another_program_wrote_anew_is_read_and_none_of_it_is_lost(tmp_path: Path, how: str) -> None:
    path = journal(tmp_path, TOLD)
    whole = path.read_bytes()
    changed = REWRITTEN[how](whole)
    path.write_bytes(changed)
    assert messages(path) == [1.0, 1.5, 3.0, 4.0]
    with Journal(path) as opened:
        assert not opened.dropped
        opened.append(EVENTS[:1])
    assert path.read_bytes() == whole + line_of(EVENTS[0])
    assert [copy.read_bytes() for copy in copies(tmp_path)] == ([] if changed == whole else [changed])


def test_a_damaged_line_before_whole_ones_is_set_aside_and_named(tmp_path: Path) -> None:
    path = journal(tmp_path, TOLD)
    damaged = path.read_bytes().replace(b'"fitness":1.0', b'"fitness":9.0')
    path.write_bytes(damaged)
    assert messages(path) == [1.0, 1.5, 4.0]
    with Journal(path) as opened:
        (done,) = opened.repairs
    assert "1 damaged line" in done
    assert "lost: the result of network 0" in done
    assert copies(tmp_path)[0].name in done
    assert copies(tmp_path)[0].read_bytes() == damaged
    assert messages(path) == [1.0, 1.5, 4.0]


def test_a_whole_line_that_follows_half_of_one_without_a_newline_is_kept(tmp_path: Path) -> None:
    path = journal(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2][:30], *lines[3:]]))
    with Journal(path) as opened:
        assert opened.dropped == 30
    assert messages(path) == [0, 1, 3, 4]


def test_a_journal_without_a_whole_line_is_kept_as_a_copy(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(b"\0" * 5000)
    Journal(tmp_path / "journal.jsonl").close()
    assert copies(tmp_path)[0].read_bytes() == b"\0" * 5000
    assert messages(tmp_path / "journal.jsonl") == []


@given(st.data())
def test_bit_damage_is_never_trusted_and_only_that_is_set_aside(data: st.DataObject) -> None:
    lines = [line_of(event) for event in TOLD]
    whole = b"".join(lines)
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):
        place, length = data.draw(st.integers(0, len(damaged))), data.draw(st.integers(0, 600))
        damaged[place : place + length] = b"\0" * len(damaged[place : place + length])
    events = [json.loads(line) for line in lines]
    found = [json.loads(part.line) for part in parts_of(io.BytesIO(damaged)) if part.line is not None]
    assert all(repr(event) in map(repr, events) for event in found)
    untouched = [line for line in lines if line in bytes(damaged)]
    assert len(found) >= len(untouched)


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


RESULTS = [{"event": "told", "time": 9.0, "id": number, "result": {"fitness": 0.5}} for number in (7, 8)]


def replaced(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.write_bytes(path.with_name("other").read_bytes())
    path.with_name("other").unlink()


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(line_of(EVENTS[0]))


CHANGES = {
    "deleted while": Path.unlink,
    "replaced by another file while": replaced,
    "written to by another program": grown,
    "cut by another program": lambda path: os.truncate(path, 10),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_journal_that_others_change_ends_the_run_and_its_results_are_kept(tmp_path: Path, what: str) -> None:
    path = journal(tmp_path)
    with Journal(path) as opened:
        opened.append(EVENTS[:1], flush=False)
        CHANGES[what](path)
        with pytest.raises(JournalError) as first:
            opened.append(RESULTS)
        said = rf"journal\.jsonl: was {what}.*2 results not yet written: saved in .*; the next start"
        assert re.search(said, str(first.value))
        assert len(str(first.value)) < 500 + len(str(tmp_path)) * 2
        with pytest.raises(JournalError, match=what):
            opened.check()
        opened.close()
    with Journal(path) as again:
        assert "could not append: taken in from journal.jsonl.saved-" in again.repairs[-1]
    assert [event["id"] for event in read_journal(path, "told")] == [7, 8]
    if what != "cut by another program":
        assert messages(path)[:5] == [0, 1, 2, 3, 4]
    assert not list(tmp_path.glob("*saved*"))


def test_a_run_that_is_renamed_has_all_results_and_the_new_name_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with Journal(tmp_path / "run" / "journal.jsonl") as opened:
        opened.append(EVENTS)
        (tmp_path / "run").rename(tmp_path / "new")
        with pytest.raises(JournalError, match=r"moved to .*/new while the driver ran; all results so far are in it"):
            opened.append(RESULTS)
    assert not (tmp_path / "run").exists()
    assert messages(tmp_path / "new" / "journal.jsonl") == [0, 1, 2, 3, 4, 9, 9]
    with Journal(tmp_path / "new" / "journal.jsonl") as opened:
        assert not opened.repairs


def test_a_file_system_that_is_gone_is_said_and_results_are_saved_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = journal(tmp_path)
    create, lstat = files.create, Path.lstat

    def gone(given: Path) -> int:
        if given.parent == tmp_path:
            raise OSError(errno.ESTALE, "Stale file handle")
        return create(given)

    with Journal(path) as opened:
        monkeypatch.setattr(files, "create", gone)
        monkeypatch.setattr(Path, "lstat", lambda self: gone(self) if self == path else lstat(self))
        with pytest.raises(JournalError, match=r"reached: Stale file handle; 2 results.* saved in .*; add it"):
            opened.append(RESULTS)
        monkeypatch.undo()
    (saved,) = (tmp_path / "temporary").iterdir()
    path.write_bytes(path.read_bytes() + saved.read_bytes())  # as the message says
    assert [event["id"] for event in read_journal(path, "told")] == [7, 8]


def test_a_second_driver_is_refused_without_the_lock_file_and_with_another_journal(tmp_path: Path) -> None:
    path = journal(tmp_path)
    with Journal(path):
        (tmp_path / ".lock").unlink()
        assert holder(tmp_path) == "unknown"
        with pytest.raises(RunError, match="held by another driver"):
            Journal(path)
    with Journal(path) as opened:
        replaced(path)
        with pytest.raises(RunError, match=f"held by another driver .*process {os.getpid()}"):
            Journal(path)
        with pytest.raises(JournalError, match="replaced"):
            opened.check()
    assert holder(tmp_path) is None


def test_a_journal_that_shares_its_file_with_a_copy_of_the_run_leaves_the_copy_alone(tmp_path: Path) -> None:
    path = journal(tmp_path)
    os.link(path, tmp_path / "backup")
    with Journal(path) as opened:
        opened.append(RESULTS)
        assert not opened.repairs
    assert messages(tmp_path / "backup") == [0, 1, 2, 3, 4]
    assert messages(path) == [0, 1, 2, 3, 4, 9, 9]


@pytest.mark.parametrize("name", ["journal.jsonl", ".lock"])
@pytest.mark.parametrize("kind", ["a symbolic link", "a folder", "a fifo"])
def test_what_is_no_file_in_place_of_journal_or_lock_is_an_error_in_a_line(
    tmp_path: Path, name: str, kind: str
) -> None:
    run, victim = tmp_path / "run", tmp_path / "victim"
    run.mkdir()
    victim.write_text("precious\n")
    path = run / name
    make = {"a symbolic link": lambda: path.symlink_to(victim), "a folder": path.mkdir}
    make.get(kind, lambda: os.mkfifo(path))()
    with pytest.raises(RunError, match=f"{name}: cannot be written: expected a file, got {kind}"):
        Journal(run / "journal.jsonl")
    assert holder(run) is None
    assert victim.read_text() == "precious\n"


def test_a_journal_of_a_later_format_is_refused_and_its_version_named(tmp_path: Path) -> None:
    path = journal(tmp_path, [{"event": "started", "time": 1.0, "format": 2, "version": "9.1.0"}])
    with pytest.raises(RunError, match=r"was written in format 2 by menndl_dask 9\.1\.0; this version, .* format 1"):
        messages(path)


def test_looking_at_the_journal_before_an_event_takes_little_time(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as opened:
        begun = time.process_time()
        for _ in range(1000):
            opened.check()
        assert time.process_time() - begun < 1.0  # some 20 ms on a quiet machine


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_a_run_that_cannot_be_written_is_said_before_workers_are_started(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(number, os.strerror(number))

    run = tmp_path / "run"
    Journal(journal(tmp_path)).close()
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    for path in (tmp_path, run, run / "further"):
        with pytest.raises(RunError, match=f"{path}: cannot be written: {os.strerror(number)}"):
            check_free(path)


def test_a_journal_that_may_only_be_read_is_said_before_workers_are_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = journal(tmp_path)
    was = path.read_bytes(), sorted(tmp_path.iterdir())
    check_free(tmp_path)
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == was
    opened = os.open

    def refuse(name: Path, flags: int, *more: Any, **given: Any) -> int:
        if name == path and flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(name))
        return opened(name, flags, *more, **given)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunError, match="cannot be written: Permission denied"):
        check_free(tmp_path)
