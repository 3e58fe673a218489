"""Prediction on images of any size with a trained network, tile by tile. Runs on the driver.

Each Dask task predicts one block of the images; see `menndl_dask.prediction.blocks`. Dask carries only the bounds
of the blocks, so that neither the driver nor the scheduler holds an image.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster, as_completed
from numpy.typing import NDArray

from menndl_dask import files, own_code
from menndl_dask.errors import UserError
from menndl_dask.genome.keras_model.network_file import code_at_hand
from menndl_dask.prediction.blocks import predict_pieces
from menndl_dask.prediction.conversion import as_store
from menndl_dask.prediction.ensemble import best_networks, check_network, flips_of, run_of
from menndl_dask.prediction.network import ModelSpec, release
from menndl_dask.prediction.pixel_size import pixel_size_note
from menndl_dask.prediction.plan import Plan, describe, plan_prediction
from menndl_dask.prediction.score import has_labels, look_at
from menndl_dask.prediction.score import score as score_of
from menndl_dask.prediction.target import write_positions, write_template
from menndl_dask.problem import Problem
from menndl_dask.run.run import Run
from menndl_dask.run.signature import allow_signed
from menndl_dask.validation import demand_kind

_LOG = logging.getLogger(__name__)
_Pictures = Callable[[Problem, dict[str, NDArray[Any]], NDArray[Any]], None]


def predict(
    model: str | Path,
    source: str | Path,
    target: str | Path,
    *,
    variable: str | Sequence[str] | None = None,
    tile: int | Sequence[int] | None = None,
    overlap: int | Sequence[int] | None = None,
    client: Client | None = None,
    probabilities: bool = False,
    ensemble: int = 1,
    flips: Sequence[str] | bool = False,
    score: bool | None = None,
    positions: int | None = None,
    imports: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
    pictures: _Pictures | None = None,
    notice: Callable[[str], None] = _LOG.info,
) -> Path:
    """Apply a trained network to images of any size.

    A segmentation network labels every pixel: images larger than the network's input are split into overlapping tiles.
    Any other network predicts for each image as a whole, which must have the size of the training images, unless the
    problem of its run says how larger ones are predicted (`Problem.large_images`).

    Parameters
    ----------
    model
        The ``.keras`` file, or a run directory, whose ``best.keras`` is used. Class names and what else the problem
        says are read from the run directory that contains the file, if there is one.
    source
        Zarr store with the images, or a Zarr array. Spatial dimensions are required, samples and channels optional.
        Images of unequal size have each a group ``samples/00000``, …. Files and folders of other formats are converted
        as by `menndl_dask.data.formats.conversion.convert` without options, into a store beside the target that is
        removed at the end.
    target
        Zarr store to write; must not exist. It is created under this name when it is complete.
    variable
        Variable with the images, one for each view of the network; by default the names of the network's inputs.
    tile
        Side of a tile in pixels, or its size along each axis; by default the size of the training images or patches.
        Larger tiles are faster.
    overlap
        Pixels at each side of a tile whose prediction is discarded; by default an eighth of the tile.
        As many are blended with the next tile.
    client
        Dask client; its workers must share a file system with this process. By default threads of this process.
    probabilities
        Write the probability of each class (``probability``) instead of the most likely class (``prediction``).
    ensemble
        Number of networks: the best ones of the run that contains the model. Their mean probabilities or values are
        used. Those that are much worse than the best one are left out.
    flips
        Names of axes such as ``("y", "x")``: the mean of the predictions for the image and its flips along these axes
        is used; True for the axes along which images were flipped in training.
    score
        Compute the metric of the run for the labels of the images, and its spread over the images; True: labels must
        be there, None: if they are, False: never.
    positions
        Write a table of the objects beside the target, ``.csv``: the middles of connected regions of each class but the
        first, or the peaks of a heat map from 0.5 on, which are at least so many pixels apart.
    imports
        Names of the user's own code, ``my_layers`` or ``my_layers:Block``, that may be imported where the network names
        it. Not needed for what this process has imported, nor for the networks of your own searches. A network whose
        file names further code than that of Keras is refused.
    progress
        Called with the number of finished blocks and the number of all blocks.
    pictures
        Called where the scores are, with the problem and what `menndl_dask.prediction.score.look_at` returns.
    notice
        Called with lines for the user: what was converted, and the scores. By default they are logged.

    Returns
    -------
    Path
        The target.

    Raises
    ------
    UserError
        If a file is not as expected, or the images do not fit the network.
    """
    own_code.allow(imports)
    for name, value in (("model", model), ("source", source), ("target", target)):
        demand_kind(name, value, (str, os.PathLike), "a path")
    model, target = Path(model).absolute(), Path(target)
    model = model / "best.keras" if model.is_dir() else model
    _check_files(model, target)
    run = run_of(model)
    if run is not None:
        allow_signed(run.settings)
    problem = None if run is None else run.problem
    paths = (model,) if ensemble == 1 else _networks(model, run, ensemble, notice)
    if score and problem is None:
        raise UserError(f"{model}: score: expected a network in the directory of a run, which says its metric")
    where = str(source) if "://" in str(source) else str(Path(source).absolute())
    with files.replacing(target.absolute()) as prepared:
        try:
            here = [name for path in paths for name in code_at_hand(path)]
            code = tuple(dict.fromkeys([*own_code.allowed(), *here]))
            folders = own_code.folders_of(code)
            spec = ModelSpec(tuple(map(str, paths)), None, str(prepared), imports=code, folders=folders)
            if flips is not False:
                rank = len(describe(spec).inputs[0]) - 1
                spec = spec._replace(flips=_subsets(flips_of(rank, flips, problem)))
            names = describe(spec).names if variable is None else (variable,) if isinstance(variable, str) else variable
            with as_store(where, target.absolute(), names, notice) as (store, variables):
                plan = plan_prediction(
                    spec, problem, store, variables, tile=tile, overlap=overlap, probabilities=probabilities
                )
                _check_plan(plan, problem, positions, notice)
                write_template(plan, {"source": str(source), **_facts(plan)})
                _predict(plan, client, progress)
                _score(prepared, store, problem, notice, pictures, score)
        finally:
            release(str(prepared))
    if positions is not None:
        notice(write_positions(target, positions))
    return target


def _networks(model: Path, run: Run | None, ensemble: int, notice: Callable[[str], None]) -> tuple[Path, ...]:
    """Return the best networks of the run around a network."""
    if run is None:
        raise UserError(f"{model}: ensemble: expected a network in a run directory, found no run around it")
    paths, notes = best_networks(run, ensemble)
    for note in notes:
        notice(note)
    return paths


def _check_plan(plan: Plan, problem: Problem | None, positions: int | None, notice: Callable[[str], None]) -> None:
    """Say if pixels have another size than in training, and refuse positions where a network gives no maps."""
    if positions is not None and (not plan.tilings or plan.job.probabilities or positions < 1):
        if positions < 1:
            raise UserError(f"positions: expected at least 1 pixel between two, got {positions}")
        raise UserError("positions: expected a class or a value for each pixel, without probabilities")
    if problem is not None and (note := pixel_size_note(problem, plan.images[0][0])):
        notice(note)


def _score(
    target: Path, store: str, problem: Problem | None, notice: Callable[[str], None], pictures: _Pictures | None,
    score: bool | None,
) -> None:  # fmt: skip
    """Say the scores; what keeps them from being computed is an error where they were asked for."""
    if problem is None or not (score or (score is None and has_labels(store, problem.label))):
        return
    try:
        found = score_of(target, store, problem)
        shown = None if pictures is None else look_at(target, store, problem)
    except UserError as error:
        if score:
            raise
        notice(f"no score: {error}")
        return
    for line in found:
        notice(str(line))
    if pictures is not None and shown is not None:
        pictures(problem, *shown)


def _subsets(axes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return all sets of some axes, the empty one too."""
    return tuple(chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1)))


def _facts(plan: Plan) -> dict[str, list[int] | list[list[int]]]:
    """Return how images are divided and flipped, as attributes for the target."""
    facts: dict[str, list[int] | list[list[int]]] = {}
    if plan.tilings:
        tilings = plan.tilings[0]
        facts["tile"], facts["overlap"] = [t.tile for t in tilings], [t.margin for t in tilings]
        facts["blend"] = [t.blend for t in tilings]
    if len(plan.job.model.flips) > 1:
        facts["flips"] = [list(axes) for axes in plan.job.model.flips]
    return facts


def _check_files(model: Path, target: Path) -> None:
    check_network(model)
    if target.exists():
        raise UserError(f"{target}: expected a new name; this one exists and is not overwritten")
    if not target.absolute().parent.is_dir():
        raise UserError(f"{target}: expected an existing directory, found no {target.absolute().parent}")


def _local_cluster() -> LocalCluster:
    """Return a cluster of two threads in this process: one reads while the other predicts."""
    return LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        memory_limit=0,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.ERROR,
    )


def _predict(plan: Plan, client: Client | None, progress: Callable[[int, int], None] | None) -> None:
    if client is not None:
        _run(client, plan, progress)
        return
    with _local_cluster() as cluster, Client(cluster) as own:
        _run(own, plan, progress)


def _run(client: Client, plan: Plan, progress: Callable[[int, int], None] | None) -> None:
    tasks = list(plan.tasks())
    _LOG.info("%d blocks", len(tasks))
    futures = client.map(predict_pieces, tasks, job=plan.job, pure=False)
    try:
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            if progress is not None:
                progress(done, len(tasks))
    finally:
        client.cancel(futures)
        client.run(release, plan.job.model.target, on_error="ignore")
