"""Prediction of frames as they appear, with as little delay as is simple. Runs on the driver.

The network stays loaded in one child process. Each prediction is a TIFF file of its own, and each frame a line of
``frames.jsonl`` beside them, from which a second call resumes.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask import __version__, files, own_code
from menndl_dask.errors import DataError, RunError, UserError, message_of, one_line
from menndl_dask.genome.keras_model.network_file import code_at_hand
from menndl_dask.prediction.blocks import Job, Piece, predicted_values
from menndl_dask.prediction.ensemble import check_network, run_of
from menndl_dask.prediction.frames import FolderFrames, Found, Frame, Frames, ZarrFrames, frame_of, is_zarr_store
from menndl_dask.prediction.network import ModelDescription, ModelSpec, release
from menndl_dask.prediction.plan import Plan, describe, plan_of
from menndl_dask.problem import Problem
from menndl_dask.run.signature import allow_signed
from menndl_dask.text import TextTable, milliseconds, printable

RECORD = "frames.jsonl"
_POLL_S = 0.002  # between two looks
_LONGEST_RECORD = 2**30  # bytes
_BROKEN_S = 1.0  # without a change, after which a file that cannot be read is taken to be broken
Array = NDArray[Any]


@dataclass(slots=True)
class Summary:
    """What was predicted, for the table at the end."""

    latencies_ms: list[float] = field(default_factory=list)  # of frames that were completed while this ran
    frames: int = 0
    broken: int = 0
    earlier: int = 0  # frames of an earlier call
    first_at: float = 0.0  # time at which the first prediction was written, and the last one
    last_at: float = 0.0

    def table(self) -> TextTable:
        """Return the table: frames, latency in milliseconds, frames per second."""
        latency = np.array(self.latencies_ms)
        shown = [milliseconds(float(f(latency))) if latency.size else "–" for f in (np.median, _p95, np.max)]
        seconds = self.last_at - self.first_at
        rate = f"{(self.frames - 1) / seconds:.3g}/s" if self.frames > 1 and seconds > 0 else "–"
        head = ["frames", "broken", "median latency", "95 %", "largest", "rate"]
        return TextTable(head, [[f"{self.frames}", f"{self.broken}", *shown, rate]], ())


def watch(
    model: str | Path, source: str | Path, target: str | Path, *, variable: str | None = None,
    tile: int | Sequence[int] | None = None, overlap: int | Sequence[int] | None = None, probabilities: bool = False,
    settle_s: float = 0.02, frames: int | None = None, idle_s: float | None = None, imports: Sequence[str] = (),
    notice: Callable[[str], None] = print,
) -> Summary:  # fmt: skip
    """Predict each frame that appears in a folder, or at the end of a Zarr array, until Ctrl-C.

    Parameters
    ----------
    model
        The ``.keras`` file, or a run directory, whose ``best.keras`` is used.
    source
        Folder into which files of formats in `menndl_dask.data.formats.readers.readers.FORMATS` are written, or Zarr
        array, or store with one, that grows along its first axis.
    target
        Folder with the predictions and `RECORD`. If it exists, what it has is not predicted again.
    variable
        Name of the array with the images; by default that of the network's input.
    tile, overlap, probabilities, imports
        As for `menndl_dask.prediction.prediction.predict`.
    settle_s
        Seconds without a change after which a file is complete.
    frames, idle_s
        Number of frames, or seconds without one, after which this ends; by default never.
    notice
        Called with a line for each frame.

    Returns
    -------
    Summary
        What was predicted.

    Raises
    ------
    UserError
        If the network cannot be used, the source is not there, or the target is of another network.
    """
    own_code.allow(imports)
    model, source, target = Path(model).absolute(), Path(source), Path(target).absolute()
    model = model / "best.keras" if model.is_dir() else model
    check_network(model)
    if not source.is_dir():
        raise UserError(f"{source}: expected a folder or a Zarr array to watch, found none")
    run = run_of(model)
    if run is not None:
        allow_signed(run.settings)
    code = tuple(dict.fromkeys([*own_code.allowed(), *code_at_hand(model)]))
    spec = ModelSpec((str(model),), None, str(target), imports=code, folders=own_code.folders_of(code))
    record = _Record(target, model)
    watched = Summary(earlier=len(record.done))
    try:
        network = describe(spec)
        if len(network.inputs) != 1:
            raise UserError(f"{model}: expected a network with one view, got {', '.join(network.names)}")
        rank, channels, name = len(network.inputs[0]) - 1, network.inputs[0][-1] or 1, variable or network.names[0]
        found: Frames = (
            ZarrFrames(source, name, rank, channels) if is_zarr_store(source)
            else FolderFrames(source, name, rank, channels, settle_s)
        )  # fmt: skip
        settings = {"tile": tile, "overlap": overlap, "probabilities": probabilities}
        predictor = _Predictor(spec, None if run is None else run.problem, settings)
        predictor.predict(_blank(network))  # the first prediction compiles the network
        notice(f"watching {source}; predictions: {target}; Ctrl-C ends it")
        _follow(found, predictor, record, watched, frames, idle_s, notice)
    except KeyboardInterrupt:
        pass
    finally:
        release(spec.target)
        record.close()
    return watched


def _follow(
    source: Frames, predictor: _Predictor, record: _Record, watched: Summary, frames: int | None,
    idle_s: float | None, notice: Callable[[str], None],
) -> None:  # fmt: skip
    """Predict frames until there are so many, or none has come for so long."""
    began = last = time.time()
    while frames is None or watched.frames + watched.broken < frames:
        found = [each for each in source.complete(record.done) if not record.has_failed(each)]
        for each in found[: None if frames is None else frames - watched.frames - watched.broken]:
            line = _one(source, each, predictor, record, watched, began)
            if line is not None:
                last = time.time()
                notice(printable(line, one_line=True))
        for line in record.broken():
            watched.broken += 1
            notice(printable(line, one_line=True))
        if not found:
            if idle_s is not None and time.time() - last > idle_s:
                return
            time.sleep(_POLL_S)


def _one(
    source: Frames, found: Found, predictor: _Predictor, record: _Record, watched: Summary, began: float
) -> str | None:
    """Predict a frame and record it; return its line, or None for one that is still being written."""
    read_from = time.time()
    try:
        frame = source.read(found)
        if source.has_changed(found):
            return None
        read_at = time.time()
        values, job = predictor.predict(frame)
    except (DataError, UserError) as error:
        record.failed(found, message_of(error))  # unless it changes
        return None
    predicted_at = time.time()
    about = record.write(found, values, job)
    written_at = time.time()
    latency = 1000 * (written_at - found.complete_at)
    is_new = found.complete_at >= began
    times = {"read_ms": 1000 * (read_at - read_from), "network_ms": 1000 * (predicted_at - read_at)}
    shown = {"latency_ms": latency if is_new else None, **times}
    rounded = {key: None if value is None else round(value, 3) for key, value in shown.items()}
    record.add(found, {"complete": round(found.complete_at, 4), **rounded, **about})
    watched.frames += 1
    watched.first_at, watched.last_at = watched.first_at or written_at, written_at
    if is_new:
        watched.latencies_ms.append(latency)
    took = milliseconds(latency) if is_new else "was there before"
    return f"{found.name}: {took}{_in_words(about)}"


def _in_words(about: dict[str, Any]) -> str:
    if "shares" in about:
        return ", " + ", ".join(f"{name} {share:.1%}" for name, share in about["shares"].items())
    return f", {about['prediction']}" if "prediction" in about and "file" not in about else ""


class _Predictor:
    """A loaded network, with a plan for each size of frames."""

    def __init__(self, spec: ModelSpec, problem: Problem | None, settings: dict[str, Any]) -> None:
        self._spec, self._problem, self._settings = spec, problem, settings
        self._plans: dict[tuple[int, ...], Plan] = {}

    def predict(self, frame: Frame) -> tuple[Array, Job]:
        """Return the predictions for all images of a frame, and how they were made."""
        if frame.shape not in self._plans:
            self._plans[frame.shape] = plan_of(self._spec, self._problem, ((frame,),), **self._settings)
        plan = self._plans[frame.shape]
        pieces = [replace_sources(some, frame) for some in replace(plan, images=((frame,),)).tasks()]
        parts = [predicted_values(some, plan.job) for some in pieces]
        if plan.job.how != "tiles":
            return np.concatenate(parts), plan.job
        whole = np.empty((frame.samples, *frame.size, *parts[0].shape[1 + len(frame.size) :]), parts[0].dtype)
        for (piece,), part in zip(pieces, parts, strict=True):
            whole[(piece.samples, *(span.predicted for span in piece.block))] = part
        return whole, plan.job


def replace_sources(pieces: tuple[Piece, ...], frame: Frame) -> tuple[Piece, ...]:
    """Return pieces of the images of a frame."""
    return tuple(piece._replace(sources=(frame,)) for piece in pieces)


def _blank(network: ModelDescription) -> Frame:
    shape = tuple(n or 64 for n in network.inputs[0])
    dims = (*(f"axis {axis}" for axis in range(len(shape) - 1)), "channel")
    return frame_of(np.zeros(shape, np.float32), dims, len(shape) - 1, shape[-1])


class _Record:
    """The folder with the predictions, and the file with a line for each frame."""

    def __init__(self, folder: Path, model: Path) -> None:
        self._folder, self._path = folder, folder / RECORD
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        self.done: set[str] = set()
        self._failed: dict[str, tuple[Found, str]] = {}
        self._broken: set[str] = set()
        try:
            files.new_folder(folder)
            lines = self._lines(digest)
            file = files.open_regular(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            self._file = os.fdopen(file, "a", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written: {error.strerror}") from error
        if not lines:
            head = {"model": str(model), "model_sha256": digest, "menndl_dask": __version__}
            self._put({**head, "created": time.strftime("%Y-%m-%dT%H:%M:%S%z")})

    def _lines(self, digest: str) -> list[dict[str, Any]]:
        """Read the lines of an earlier call; a last line that is not whole is removed."""
        if not os.path.lexists(self._path):
            if any(self._folder.iterdir()):
                raise UserError(f"{self._folder}: expected a new or empty folder, or one with {RECORD}")
            return []
        text = files.read_text(self._path, at_most=_LONGEST_RECORD)
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            files.write_text(self._path, whole)
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
            if lines and lines[0].get("model_sha256") != digest:
                was = f"those of another network, {lines[0].get('model')}"
                raise UserError(
                    f"{self._path}: expected predictions of this network, got {was}; --output gives another"
                )
            self.done = {str(line["frame"]) for line in lines[1:] if "error" not in line}
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            wrong = one_line(error)
            raise RunError(f"{self._path}: expected a frame in each line, got another form: {wrong}") from error
        return lines

    def _put(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file with the lines."""
        self._file.close()

    def failed(self, found: Found, message: str) -> None:
        """Note that a frame cannot be read as it is now: it may be broken, or half written."""
        self._failed[found.name] = found, message

    def has_failed(self, found: Found) -> bool:
        """Return whether a frame could not be read, and has not changed since."""
        return found.name in self._failed and self._failed[found.name][0].state == found.state

    def broken(self) -> list[str]:
        """Write the lines of frames that cannot be read and have not changed for a second, and return what is wrong."""
        late = time.time() - _BROKEN_S
        names = [name for name, (found, _) in self._failed.items() if found.complete_at < late]
        new = [name for name in names if name not in self._broken]
        for name in new:
            self._broken.add(name)
            self._put({"frame": name, "error": self._failed[name][1]})
        return [f"broken: {self._failed[name][1]}" for name in new]

    def add(self, found: Found, about: dict[str, Any]) -> None:
        """Write the line of a frame."""
        self._put({"frame": found.name, **about})
        self.done.add(found.name)

    def write(self, found: Found, values: Array, job: Job) -> dict[str, Any]:
        """Write the prediction for a frame; return what its line says of it."""
        if job.how != "tiles":
            return {"prediction": _plain(values, job)}
        import tifffile

        name = f"{found.name}.tif" if not found.name.isdecimal() else f"{int(found.name):08d}.tif"
        first = values[0] if len(values) == 1 else values
        if values.ndim > 1 + len(job.sizes[0]):  # classes or values as pages
            first = np.moveaxis(first, -1, 0)
        partial = self._folder / f".{name}.partial"
        tifffile.imwrite(partial, first, photometric="minisblack")
        partial.replace(self._folder / name)
        about: dict[str, Any] = {"file": name, "shape": list(first.shape)}
        if job.classes is not None and not job.probabilities:
            counts = np.bincount(values.ravel(), minlength=len(job.classes))[: len(job.classes)]
            shares = (counts / values.size).tolist()
            about["shares"] = {name: round(share, 6) for name, share in zip(job.classes, shares, strict=True)}
        return about


def _plain(values: Array, job: Job) -> Any:
    """Return the prediction for whole images as JSON holds it: names of classes, or numbers."""
    if job.classes is not None and not job.probabilities:
        found: list[Any] = [job.classes[n] if n < len(job.classes) else None for n in values.tolist()]
    else:
        found = np.round(values.astype(float), 6).tolist()
    return found[0] if len(found) == 1 else found


def _p95(values: Array) -> Any:
    return np.percentile(values, 95)
