"""Export of a trained network for use without this package, checked against the network itself. Runs on the driver.

Keras runs in child processes; see `menndl_dask.prediction.export_process`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask import files, own_code
from menndl_dask.data.dataset import fill_missing
from menndl_dask.data.labels import problem_dataset
from menndl_dask.data.store.variable import Block
from menndl_dask.errors import TrainerError, UserError
from menndl_dask.evaluation.child_process import ChildProcess
from menndl_dask.genome.keras_model.network_file import code_at_hand
from menndl_dask.prediction.ensemble import check_network, run_of
from menndl_dask.prediction.network import ModelDescription
from menndl_dask.prediction.plan import along_axes
from menndl_dask.problem import Problem
from menndl_dask.run.run import Run
from menndl_dask.run.signature import Signed, allow_signed

ENDINGS = {"keras": ".keras", "savedmodel": "", "onnx": ".onnx"}
"""Formats, and the endings of their files; a SavedModel is a folder."""

TOLERANCE = 1e-5
"""By which outputs may differ, as a share of the largest one if that is more than 1."""

_ANSWER_S = 1200.0
_MODULE = "menndl_dask.prediction.export_process"
_ENVIRONMENT = {"KERAS_BACKEND": "tensorflow"}
_INSTALL = 'pip install "menndl_dask[onnx]"'
_RUNTIME = "pip install onnxruntime"
_COMPARED = 4  # images
_ANY = 64  # pixels along an axis of a network that takes any size
Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Parameters
    ----------
    path
        The file or folder.
    network
        The ``.keras`` file that it was made from.
    description
        Names and shapes of its inputs, and shape and activation function of its output.
    difference
        The largest difference of its outputs from those of the network; None if they could not be compared.
    images
        What they were compared on, in words.
    has_means
        Whether missing values (NaN) are replaced by the mean of their channel inside.
    """

    path: Path
    network: Path
    description: ModelDescription
    difference: float | None
    images: str
    has_means: bool

    def __str__(self) -> str:
        network = self.description
        inputs = ", ".join(f"{name} ({_by(shape)})" for name, shape in zip(network.names, network.inputs, strict=True))
        checked = f"not checked: ONNX Runtime is not installed: {_RUNTIME}"
        if self.difference is not None:
            checked = f"checked: its outputs are the network's to {self.difference:.1g}, on {self.images}"
        inside = "normalisation; missing values (NaN) are not replaced, as no run says the means"
        if self.has_means:
            inside = "normalisation, and the mean of the channel in place of missing values (NaN)"
        return f"written: {self.path}: input {inputs}; output {_by(network.output)}\n{checked}\ninside: {inside}"

    def section(self, kind: str) -> list[str]:
        """Return the section of a model card that says what was written."""
        written, checked, inside = str(self).splitlines()
        versions = ", ".join(f"{name} {number}" for name, number in versions_of(kind).items())
        lines = [written.replace(str(self.path), f"`{self.path.name}`"), checked, inside, f"with {versions}"]
        return ["## Export", "\n".join(f"* {line}" for line in lines), "Source: the output of `menndl export`."]


def export(
    model: str | Path, target: str | Path | None = None, *, kind: str = "keras",
    tile: int | Sequence[int] | None = None, imports: Sequence[str] = (),
) -> Exported:  # fmt: skip
    """Write a trained network in a format for use elsewhere, with its preprocessing inside, and check it.

    The outputs of what was written are compared with those of the network, in another process: on images of its run,
    or on random ones where these cannot be read.

    Parameters
    ----------
    model
        The ``.keras`` file, or a run directory, whose ``best.keras`` is used.
    target
        File or folder to write; must not exist. By default in the folder ``export`` beside the network.
    kind
        ``keras`` (plain Keras loads it), ``savedmodel`` (TensorFlow, without Keras) or ``onnx`` (ONNX Runtime and
        others; needs the converter ``tf2onnx``).
    tile
        Pixels along each axis that the network is to take; by default those that it was trained on.
    imports
        Names of the user's own code, as for `menndl_dask.prediction.prediction.predict`.

    Raises
    ------
    UserError
        If the network cannot be loaded or converted, a converter is missing, or the outputs differ by more than
        `TOLERANCE`; then no file is left.
    """
    own_code.allow(imports)
    model = Path(model)
    model = model / "best.keras" if model.is_dir() else model
    target = Path(target or model.parent / "export" / f"{model.stem}{ENDINGS[kind]}")
    _check(model, target, kind)
    model = model.absolute()
    run = run_of(model)
    if run is not None:
        allow_signed(run.settings)
    problem = None if run is None else run.problem
    code = tuple(dict.fromkeys([*own_code.allowed(), *code_at_hand(model)]))
    own = (code, own_code.folders_of(code))
    means = None if problem is None or not problem.facts.mean else problem.facts.mean
    rank = None if problem is None else problem.rank
    size = None if tile is None else along_axes("tile", tile, rank or np.size(tile))
    folder = _new_folder(target)
    written = folder / target.name
    child = ChildProcess(_MODULE, _ENVIRONMENT)
    try:
        description = ModelDescription(**_ask(child, model, ("load", str(model), size, *own)))
        views, images = _images(problem, description, may_read=run is not None and _is_own_data(run))
        filled = views
        if means is not None:
            views[0][0, 0] = np.nan  # an edge of an image, whose values are missing
            filled = [fill_missing(view, mean) for view, mean in zip(views, means, strict=True)]
        before = _ask(child, model, ("export", str(written), kind, means, filled))
        child.close()
        difference = None
        if kind != "onnx" or find_spec("onnxruntime") is not None:
            child = ChildProcess(_MODULE, _ENVIRONMENT)  # which has not seen the network
            difference = _difference(before, _ask(child, model, ("run", str(written), kind, views, *own)))
            if not difference <= TOLERANCE:
                got = f"a difference of {difference:.2g} on {images}"
                raise UserError(f"{model}: {kind}: expected outputs equal to {TOLERANCE:g}, got {got}; not written")
        files.flush(written)
        written.replace(target)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from error
    finally:
        child.close()
        files.remove_folder(folder)
    return Exported(target, model, description, difference, images, means is not None)


def versions_of(kind: str) -> dict[str, str]:
    """Return the versions of the packages that write and check a format."""
    names = {"keras": ["keras"], "savedmodel": ["keras", "tensorflow"]}.get(
        kind, ["keras", "tensorflow", "tf2onnx", "onnx", "onnxruntime"]
    )
    return {name: version(name) for name in names if find_spec(name) is not None}


def _check(model: Path, target: Path, kind: str) -> None:
    check_network(model)
    if kind == "keras" and target.suffix != ".keras":
        raise UserError(f"{target}: expected a name that ends in .keras")
    if target.exists():
        raise UserError(
            f"{target}: expected a new name; this one exists and is not overwritten (--output gives another)"
        )
    if kind == "onnx" and (missing := [name for name in ("tf2onnx", "onnx") if find_spec(name) is None]):
        raise UserError(f"onnx: needs {' and '.join(missing)}, not installed here: {_INSTALL}")


def _new_folder(target: Path) -> Path:
    """Return a hidden folder beside the target, which is written there first."""
    folder = target.absolute().with_name(f".{target.name}.export")
    try:
        files.new_folder(folder.parent)
        files.remove_folder(folder)
        folder.mkdir()
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from error
    return folder


def _ask(child: ChildProcess, model: Path, request: tuple[Any, ...]) -> Any:
    try:
        return child.ask(request, _ANSWER_S)
    except TrainerError as error:
        text = str(error)
        raise UserError(text if text.startswith(f"{model}: ") else f"{model}: cannot be exported: {text}") from error


def _difference(before: Array, after: Array) -> float:
    """Return how much outputs differ at most, as a share of the largest one if that is more than 1."""
    if before.shape != after.shape:
        return float("inf")
    return float(np.max(np.abs(before - after)) / max(1.0, float(np.max(np.abs(before)))))


def _is_own_data(run: Run) -> bool:
    """Return whether this user has signed the data that a run names; that of another user's run is not read."""
    signed = Signed.read(run.settings)
    return signed is not None and signed.is_own and run.problem is not None and signed.data == run.problem.data


def _images(problem: Problem | None, network: ModelDescription, *, may_read: bool) -> tuple[list[Array], str]:
    """Return some images for each view, in float32, and what they are."""
    shapes = [tuple(_ANY if n is None else n for n in shape) for shape in network.inputs]
    if problem is not None and may_read:
        found: list[Array] = []
        with suppress(UserError):  # the data is elsewhere now
            found = _real_images(problem, shapes)
        if found:
            return found, f"{len(found[0])} images of {Path(problem.data).name}"
    rng = np.random.default_rng(0)
    views = []
    for place, shape in enumerate(shapes):
        known = problem is not None and len(problem.facts.mean) == len(shapes)
        mean, variance = (problem.facts.mean[place], problem.facts.variance[place]) if known and problem else (0.0, 1.0)
        values = rng.normal(mean, np.sqrt(variance), (_COMPARED, *shape))
        views.append(values.astype(np.float32))
    return views, f"{_COMPARED} random images"


def _real_images(problem: Problem, shapes: list[Shape]) -> list[Array]:
    """Return the first images of the data that are large enough, cut to the size of the network; empty if none is."""
    dataset = problem_dataset(problem)
    chosen: list[list[Array]] = []
    for sample in range(min(dataset.samples, 4 * _COMPARED)):
        sizes = [view.size(sample) for view in dataset.views]
        if len(chosen) == _COMPARED:
            break
        if all(
            n >= m for size, shape in zip(sizes, shapes, strict=True) for n, m in zip(size, shape[:-1], strict=True)
        ):
            parts = [tuple(slice(0, m) for m in shape[:-1]) for shape in shapes]
            views = [
                view.images(Block(sample, sample + 1, part))[0].astype(np.float32)
                for view, part in zip(dataset.views, parts, strict=True)
            ]
            chosen.append([view[tuple(slice(0, m) for m in s[:-1])] for view, s in zip(views, shapes, strict=True)])
    return [np.stack(view) for view in zip(*chosen, strict=True)]


def _fits(inner: Shape, outer: Shape) -> bool:
    return all(n <= m for n, m in zip(inner, outer, strict=True))


def _by(shape: Sequence[int | None]) -> str:
    return "×".join("any" if n is None else str(n) for n in shape)
