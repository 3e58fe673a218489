"""The plan of a prediction: what of which images is predicted in one go, and how. Runs on the driver."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from menndl_dask.data.tiling import BLOCK_PIXELS, Tiling, block_size, blocks
from menndl_dask.data.windows import window_starts
from menndl_dask.errors import TrainerError, UserError
from menndl_dask.prediction.blocks import Job, Piece
from menndl_dask.prediction.images import ImageSource, open_images
from menndl_dask.prediction.network import ModelDescription, ModelSpec, get_network
from menndl_dask.problem import Problem

_OPEN_TILE = {1: 4096, 2: 256, 3: 64}  # side of a tile by rank, for a network that takes any size
_BLOCK_PIXELS = {3: BLOCK_PIXELS}  # of all images of a block, by rank
_FLAT_BLOCK_PIXELS = 2**20  # limits the memory of a Dask task to some tens of megabytes
_CHANNELS = 4  # more channels and outputs than these make a block smaller
_BATCH_PIXELS = 2**17  # in one forward pass
_PROBABILITIES = ("softmax", "sigmoid")

Views = tuple[ImageSource, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is predicted, and how; see `plan_prediction`."""

    job: Job
    images: tuple[Views, ...]  # of each kind of images of equal size: the sources of each view
    tilings: tuple[tuple[Tiling, ...], ...]  # of the same; empty for a network that predicts for whole images

    @property
    def samples(self) -> int:
        """Number of all images."""
        return sum(views[0].samples for views in self.images)

    @property
    def step(self) -> int:
        """Number of images in a task, of a network that predicts for whole images."""
        most = max(math.prod(views[0].size) for views in self.images)
        return min(self.samples, max(1, _FLAT_BLOCK_PIXELS // most))

    def steps(self, number: int) -> tuple[int, ...]:
        """Return the size of a block: images, and pixels along each axis."""
        most = self._block_pixels(number)
        pixels = block_size(self.tilings[number], most)
        return (min(self.images[number][0].samples, max(1, most // math.prod(pixels))), *pixels)

    def _block_pixels(self, number: int) -> int:
        most = _BLOCK_PIXELS.get(len(self.tilings[number]), _FLAT_BLOCK_PIXELS) * _CHANNELS
        return most // max(_CHANNELS, self.job.outputs + sum(source.channels for source in self.images[number]))

    def tasks(self) -> Iterator[tuple[Piece, ...]]:
        """Yield what each task predicts; no two write into the same stored chunk."""
        if self.job.how != "tiles":
            yield from self._image_tasks()
            return
        for number, (views, tilings) in enumerate(zip(self.images, self.tilings, strict=True)):
            samples = self.steps(number)[0]
            for start in range(0, views[0].samples, samples):
                stop = min(start + samples, views[0].samples)
                for block in blocks(tilings, self._block_pixels(number)):
                    yield (Piece(views, start, stop, block, tilings, views[0].group),)

    def _image_tasks(self) -> Iterator[tuple[Piece, ...]]:
        if len(self.images) == 1:
            views = self.images[0]
            for start in range(0, self.samples, self.step):
                yield (Piece(views, start, min(start + self.step, self.samples)),)
            return
        for start in range(0, self.samples, self.step):
            some = self.images[start : start + self.step]
            yield tuple(Piece(views, 0, 1, first=start + i) for i, views in enumerate(some))


def plan_prediction(
    spec: ModelSpec,
    problem: Problem | None,
    source: str,
    variables: Sequence[str],
    *,
    tile: int | Sequence[int] | None = None,
    overlap: int | Sequence[int] | None = None,
    probabilities: bool = False,
) -> Plan:
    """Return the plan for a network and images.

    Parameters
    ----------
    spec
        The network.
    problem
        What it was trained for; None if that is not known.
    source
        Zarr store with the images, or Zarr array.
    variables
        With the images, one for each view.
    tile, overlap, probabilities
        As in `menndl_dask.prediction.prediction.predict`.

    Raises
    ------
    UserError
        If the images or the settings do not suit the network.
    """
    images = _open(spec, describe(spec), source, variables)
    return plan_of(spec, problem, images, tile=tile, overlap=overlap, probabilities=probabilities)


def plan_of(
    spec: ModelSpec,
    problem: Problem | None,
    images: tuple[Views, ...],
    *,
    tile: int | Sequence[int] | None = None,
    overlap: int | Sequence[int] | None = None,
    probabilities: bool = False,
) -> Plan:
    """Return the plan for a network and open images, one tuple of views for each kind of equal size."""
    model = describe(spec)
    classes = _classes(model, problem)
    if probabilities and classes is None:
        raise UserError(f"{spec.name}: probabilities: expected a network for classes, got a regression network")
    known = problem is not None and tuple(map(len, problem.facts.mean)) == tuple(shape[-1] for shape in model.inputs)
    means = problem.facts.mean if problem is not None and known else None
    outputs = model.output[-1] or 1
    if len(model.output) != len(model.inputs[0]):
        if tile is not None or overlap is not None:
            raise UserError(f"{spec.name}: predicts for whole images: expected neither a tile nor an overlap")
        how = (None if problem is None else problem.large_images) or "whole"
        sizes = _check_whole(images, model, how)
        job = Job(spec, 1, outputs, classes, probabilities, how, sizes, means)
        return _with_batch(Plan(job, images, ()))
    sides = _tile_sides(model, tile)
    if sides != model.inputs[0][:-1]:
        spec = spec._replace(tile=sides)
        model = describe(spec)
    if model.output[:-1] != sides:
        got = _by(model.output[:-1])
        raise UserError(f"{spec.name}: expected a label for each pixel of a tile of {_by(sides)}, got {got}")
    margins = (None,) * len(sides) if overlap is None else along_axes("overlap", overlap, len(sides))
    if any(margin is not None and not 0 <= 2 * margin < side for margin, side in zip(margins, sides, strict=True)):
        raise UserError(f"overlap: expected 0 to less than half a tile of {_by(sides)} pixels, got {_by(margins)}")
    tilings = tuple(tuple(map(Tiling.of, views[0].size, sides, margins)) for views in images)
    job = Job(spec, 1, outputs, classes, probabilities, sizes=(sides,) * len(model.inputs), means=means)
    return _with_batch(Plan(job, images, tilings))


def _with_batch(plan: Plan) -> Plan:
    """Return the plan with the number of tiles, windows or images in a batch, at most those of a task."""
    job = plan.job
    if job.how == "tiles":
        most = max(
            plan.steps(number)[0] * math.prod(len(t.spans(n)[0].tiles) for t, n in zip(along, sizes, strict=True))
            for number, along in enumerate(plan.tilings)
            for sizes in [plan.steps(number)[1:]]
        )
    else:
        windows = job.how in ("vote", "mean")
        most = plan.step
        most *= max(len(window_starts(views[0].size, job.sizes[0])) for views in plan.images) if windows else 1
    batch = max(1, min(_BATCH_PIXELS // math.prod(job.sizes[0]), most))
    return replace(plan, job=replace(job, batch=batch))


def describe(spec: ModelSpec) -> ModelDescription:
    """Return what a network says of itself; raises `UserError` if it cannot be loaded."""
    try:
        return get_network(spec).description
    except TrainerError as error:
        if any(str(error).startswith(f"{path}: ") for path in spec.paths):  # it says what is wrong with the file
            raise UserError(str(error)) from error
        size = f" for tiles of {_by(spec.tile)} pixels" if spec.tile else ""
        raise UserError(f"{spec.name}: cannot be used{size}: {error}") from error


def _open(spec: ModelSpec, model: ModelDescription, source: str, variables: Sequence[str] | None) -> tuple[Views, ...]:
    """Return the sources of each view, for each kind of images of equal size."""
    names = model.names if variables is None else tuple(variables)
    if len(names) != len(model.names):
        wanted = f"{len(model.names)} variables, for the views {', '.join(model.names)}"
        raise UserError(f"{spec.name}: expected {wanted}, got {', '.join(names) or 'none'}")
    opened = [
        open_images(source, name, rank=len(shape) - 1, channels=shape[-1] or 1)
        for name, shape in zip(names, model.inputs, strict=True)
    ]
    for view in opened[1:]:
        if len(view) != len(opened[0]):
            expected = f"as many images as in {opened[0][0].name}, {len(opened[0])}"
            raise UserError(f"{view[0].label}: expected {expected}, got {len(view)}")
    images = tuple(zip(*opened, strict=True))
    for first, *others in images:
        for other in others:
            if other.samples != first.samples:
                raise UserError(f"{other.label}: expected {first.samples} samples, got {other.samples}")
            if len(model.output) == len(model.inputs[0]) and other.size != first.size:
                expected = f"images of {_by(first.size)} pixels, as in {first.name}"
                raise UserError(f"{other.label}: expected {expected}, got {_by(other.size)}")
    return images


def _tile_sides(model: ModelDescription, tile: int | Sequence[int] | None) -> tuple[int, ...]:
    own = model.inputs[0][:-1]
    if any(shape[:-1] != own for shape in model.inputs):
        sizes = ", ".join(_by(shape[:-1]) for shape in model.inputs)
        raise UserError(f"expected a network whose views have equal sizes, to cut them into tiles, got {sizes}")
    if tile is None:
        return tuple(_OPEN_TILE.get(len(own), 64) if n is None else n for n in own)
    sides = along_axes("tile", tile, len(own))
    if min(sides) < 1:
        raise UserError(f"tile: expected at least 1 pixel, got {_by(sides)}")
    return sides


def along_axes(name: str, given: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """Return a number for each axis: the same for all, or as given."""
    numbers = (given,) if isinstance(given, int) else tuple(given)
    if len(numbers) not in (1, rank):
        raise UserError(f"{name}: expected one number, or {rank}, got {_by(numbers)}")
    return numbers if len(numbers) == rank else numbers * rank


def _check_whole(images: Sequence[Views], model: ModelDescription, how: str) -> tuple[tuple[int, ...], ...]:
    """Check that the images suit a network that predicts for whole images; return what it sees of each view."""
    for views in images:
        if views[0].group and views[0].samples != 1:
            raise UserError(f"{views[0].label}: expected one image, got {views[0].samples}")
        for source, shape in zip(views, model.inputs, strict=True):
            differs = any(n not in (None, m) for n, m in zip(shape[:-1], source.size, strict=True))
            if how == "whole" and differs:
                expected = f"images of {_by(shape[:-1])} pixels, as the network was trained on"
                raise UserError(f"{source.label}: expected {expected}, got {_by(source.size)}")
    first = images[0]
    return tuple(
        tuple(own or n for own, n in zip(shape[:-1], source.size, strict=True))
        for shape, source in zip(model.inputs, first, strict=True)
    )


def _classes(model: ModelDescription, problem: Problem | None) -> tuple[str, ...] | None:
    """Return the class names, or numbers where names are not known; None for a regression network."""
    regression = model.activation not in _PROBABILITIES if problem is None else problem.task == "regression"
    if regression:
        return None
    outputs = max(2, model.output[-1] or 1)  # a single output is the probability of the second of two classes
    if problem is not None and len(problem.facts.classes) == outputs:
        return problem.facts.classes
    return tuple(str(n) for n in range(outputs))


def _by(numbers: Sequence[int | None] | None) -> str:
    return " × ".join("any" if n is None else str(n) for n in numbers or ())
