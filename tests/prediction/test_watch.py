"""Frames predicted as they appear: from a writer, broken and half written ones, resumed, and at the end a table."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from menndl_dask.cli.cli import main
from menndl_dask.errors import RunError, UserError
from menndl_dask.prediction import watch as module
from menndl_dask.prediction.watch import _Record, watch
from tests.prediction.test_prediction import describe, model

__all__ = ["model"]  # a fixture


def frame(number: int, shape: tuple[int, ...] = (16, 16)) -> np.ndarray:
    return np.random.default_rng(number).normal(size=shape).astype("float32")


def lines_of(target: Path) -> list[dict[str, Any]]:
    """Return the lines of frames, without the first one."""
    return [json.loads(line) for line in (target / "frames.jsonl").read_text().splitlines()][1:]


def predicted(target: Path, name: str) -> np.ndarray:
    return np.asarray(tifffile.imread(target / name))


def while_watching(model: Path, source: Path, target: Path, write: Callable[[], None], **settings: Any) -> list[str]:
    """Watch a source to which a thread writes once the network is loaded, and return what was said."""
    said: list[str] = []
    ready = threading.Event()

    def told(line: str) -> None:
        said.append(line)
        ready.set()

    def begin() -> None:
        ready.wait(120)
        write()

    writer = threading.Thread(target=begin)
    writer.start()
    watch(model, source, target, notice=told, **settings)
    writer.join()
    return said


def test_frames_that_a_writer_appends_ten_times_a_second_are_predicted_one_by_one(model: Path, tmp_path: Path) -> None:
    (source := tmp_path / "frames").mkdir()

    def write() -> None:
        for number in range(12):
            tifffile.imwrite(source / f"{number:03d}.tif", frame(number))
            time.sleep(0.1)

    said = while_watching(model, source, tmp_path / "out", write, frames=12)
    found = lines_of(tmp_path / "out")
    assert [line["frame"] for line in found] == [f"{n:03d}.tif" for n in range(12)]
    assert all(line["latency_ms"] > 0 and line["network_ms"] <= line["latency_ms"] for line in found)
    assert all(np.array_equal(predicted(tmp_path / "out", f"{n:03d}.tif.tif"), frame(n) > 0) for n in range(12))
    positive = (frame(3) > 0).mean()
    assert found[3]["shares"] == pytest.approx({"0": 1 - positive, "1": positive}, abs=1e-6)
    assert len(said) == 13 and said[1].startswith("000.tif: ")


def test_an_array_that_grows_is_predicted_frame_by_frame(model: Path, tmp_path: Path) -> None:
    store = zarr.create_array(tmp_path / "grows.zarr", shape=(2, 20, 24), chunks=(1, 16, 16), dtype="float32")
    store[:2] = np.stack([frame(0, (20, 24)), frame(1, (20, 24))])

    def write() -> None:
        for number in range(2, 6):
            store.append(frame(number, (20, 24))[np.newaxis])
            time.sleep(0.05)

    while_watching(model, tmp_path / "grows.zarr", tmp_path / "out", write, frames=6)
    found = lines_of(tmp_path / "out")
    assert [line["frame"] for line in found] == ["0", "1", "2", "3", "4", "5"]
    assert [line["latency_ms"] is None for line in found[:2]] == [True, True]  # they were there before
    for number in range(6):
        assert np.array_equal(predicted(tmp_path / "out", f"{number:08d}.tif"), frame(number, (20, 24)) > 0)


def test_a_frame_without_its_chunk_is_waited_for_and_a_blank_one_is_not_lost(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("menndl_dask.prediction.frames._LATE_S", 0.1)
    path = tmp_path / "store.zarr"
    array = zarr.open_group(path, mode="w").create_array(
        "image", shape=(1, 16, 16), chunks=(1, 16, 16), dtype="float32"
    )

    def write() -> None:
        array[0] = frame(0)
        array.resize((3, 16, 16))  # the frame number 1 stays blank, without a chunk
        time.sleep(0.3)
        array[2] = frame(2)

    while_watching(model, path, tmp_path / "out", write, frames=3)
    assert sorted(line["frame"] for line in lines_of(tmp_path / "out")) == ["0", "1", "2"]
    assert np.array_equal(predicted(tmp_path / "out", "00000002.tif"), frame(2) > 0)
    assert not predicted(tmp_path / "out", "00000001.tif").any()


def test_a_half_written_frame_is_waited_for_and_a_broken_one_ends_nothing(model: Path, tmp_path: Path) -> None:
    (source := tmp_path / "frames").mkdir()
    (tmp_path / "whole.npy").write_bytes(b"")
    np.save(tmp_path / "whole.npy", frame(7))
    data = (tmp_path / "whole.npy").read_bytes()

    def write() -> None:
        (source / "broken.png").write_bytes(b"no picture")
        with (source / "slow.npy").open("wb") as file:
            file.write(data[:500])
            file.flush()
            time.sleep(0.3)
            file.write(data[500:])
        Image.fromarray(np.full((16, 16), 255, np.uint8)).save(source / "picture.png")
        np.savez(source / "several.npz", image=frame(8), label=frame(9))
        (source / "notes.txt").write_text("passed over")
        np.save(source / ".hidden.npy", frame(1))

    said = while_watching(model, source, tmp_path / "out", write, frames=4)
    found = {line["frame"]: line for line in lines_of(tmp_path / "out")}
    assert set(found) == {"broken.png", "slow.npy", "picture.png", "several.npz"}
    assert "broken.png: cannot be read as a picture" in found["broken.png"]["error"]
    # on a busy machine the slow one may have been reported too, before it was complete
    assert sum(line.startswith("broken: ") and "broken.png" in line and len(line) <= 500 for line in said) == 1
    assert np.array_equal(predicted(tmp_path / "out", "slow.npy.tif"), frame(7) > 0)
    assert predicted(tmp_path / "out", "picture.png.tif").all()
    assert np.array_equal(predicted(tmp_path / "out", "several.npz.tif"), frame(8) > 0)


def test_a_second_call_predicts_what_is_new_and_the_command_ends_with_a_table(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (source := tmp_path / "frames").mkdir()
    for number in range(3):
        np.save(source / f"{number}.npy", frame(number))
    assert main(["watch", str(model), str(source), "--frames", "2"]) == 0
    target = tmp_path / "frames-predicted"
    with (target / "frames.jsonl").open("a") as file:
        file.write('{"frame": "half a li')  # as after a kill
    before = (target / "0.npy.tif").stat().st_mtime_ns

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", stopped)  # as if Ctrl-C came once there is no frame left
    assert main(["watch", str(model), str(source)]) == 0
    assert [line["frame"] for line in lines_of(target)] == ["0.npy", "1.npy", "2.npy"]
    assert (target / "0.npy.tif").stat().st_mtime_ns == before
    table = capsys.readouterr().out.splitlines()[-2:]
    assert table[0].split("  ")[0] == "frames" and table[1].split()[:2] == ["1", "0"]


def test_predictions_for_whole_images_and_probabilities_are_recorded(model: Path, tmp_path: Path) -> None:
    (source := tmp_path / "frames").mkdir()
    np.save(source / "one.npy", np.ones((16, 16), "float32"))
    watch(model, source, tmp_path / "pixels", probabilities=True, frames=1, notice=lambda _: None)
    assert predicted(tmp_path / "pixels", "one.npy.tif").shape == (2, 16, 16)
    describe(output=(2,))
    said: list[str] = []
    watch(model, source, tmp_path / "classes", frames=1, notice=said.append)
    assert lines_of(tmp_path / "classes")[0]["prediction"] == "1" and said[-1].endswith(", 1")


def test_what_cannot_be_watched_is_one_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source := tmp_path / "frames").mkdir()
    (other := tmp_path / "other").mkdir()
    (other / "file").touch()
    for words, expected in (
        ([str(tmp_path / "none")], "none: expected a folder or a Zarr array to watch, found none"),
        ([str(source), "--output", str(other)], "other: expected a new or empty folder, or one with frames.jsonl"),
        ([str(source), "--idle", "-1"], "--idle: expected a number ≥ 0, got -1"),
    ):
        assert main(["watch", str(model), *words]) == 2
        line = capsys.readouterr().err
        assert expected in line and len(line.splitlines()) == 1
    np.save(source / "0.npy", frame(0))
    watch(model, source, tmp_path / "out", frames=1, notice=lambda _: None)
    record = tmp_path / "out" / "frames.jsonl"
    record.write_text(record.read_text().replace('"model_sha256": "', '"model_sha256": "0'))
    with pytest.raises(UserError, match=r"expected predictions of .*, got those of .*; --output gives another"):
        watch(model, source, tmp_path / "out", frames=1)


def linked(record: Path) -> None:
    """Put a link to a file of another folder in its place."""
    (record.parent.parent / "foreign").write_text("")
    record.symlink_to(record.parent.parent / "foreign")


@pytest.mark.parametrize("put", [linked, os.mkfifo])
def test_a_record_that_is_no_file_is_neither_followed_nor_waited_for(
    put: Callable[[Path], None], tmp_path: Path
) -> None:
    (out := tmp_path / "out").mkdir()
    (trained := tmp_path / "best.keras").write_bytes(b"weights")
    put(out / "frames.jsonl")
    told = r"frames\.jsonl: cannot be written: expected a file, got a (symbolic link|fifo)"
    with pytest.raises(UserError, match=told):
        _Record(out, trained)
    assert not (tmp_path / "foreign").exists() or (tmp_path / "foreign").read_text() == ""


@pytest.mark.parametrize("line", ["[[1]]", '["frame"]', "[" * 100_000])
def test_a_record_in_another_form_is_one_line(line: str, tmp_path: Path) -> None:
    (trained := tmp_path / "best.keras").write_bytes(b"weights")
    _Record(tmp_path / "out", trained).close()
    with (tmp_path / "out" / "frames.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(RunError, match=r"expected a frame in each line, got another form: [^\n]*$"):
        _Record(tmp_path / "out", trained)
