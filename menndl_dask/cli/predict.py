"""The commands ``menndl predict`` and ``menndl watch``. Runs on the driver."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from menndl_dask.cli.parser import add_cluster_options, add_command, add_import_option
from menndl_dask.errors import UserError
from menndl_dask.terminal import block_line, say


def add_commands(commands: Any) -> None:
    """Add the commands to a parser's subparsers."""
    _add_predict(commands)
    _add_watch(commands)


def _add_predict(commands: Any) -> None:
    parser = add_command(commands, "predict", _predict, "apply a trained network to images of any size in Zarr")
    parser.add_argument("model", type=Path, help="trained network, such as runs/mine/best.keras, or a run")
    parser.add_argument("source", type=Path, help="Zarr store with the images, or images of another format")
    parser.add_argument("target", type=Path, help="Zarr store to write; must not exist")
    text = "variables with the images (default: those that the network was trained on)"
    parser.add_argument("--variable", nargs="+", metavar="NAME", help=text)
    text = "side of the tiles of a large image, or size along each axis, such as 16 64 64"
    parser.add_argument("--tile", type=int, nargs="+", metavar="PIXELS", help=text)
    text = "pixels discarded at each side of a tile, or at those along each axis"
    parser.add_argument("--overlap", type=int, nargs="+", metavar="PIXELS", help=text)
    text = "mean of the best N networks of the run that contains the model"
    parser.add_argument("--ensemble", type=int, default=1, metavar="N", help=text)
    text = "mean over flips of the images along these axes, such as y x (default: those flipped in training)"
    parser.add_argument("--flips", nargs="*", metavar="AXIS", help=text)
    text = "print the metric of the run for the labels of the images (default: if there are labels)"
    parser.add_argument("--score", action=argparse.BooleanOptionalAction, help=text)
    parser.add_argument("--probabilities", action="store_true", help="write the probability of each class")
    text = "write a table of the objects in predicted maps, peaks at least N pixels apart (default: 3), as TARGET.csv"
    parser.add_argument("--positions", type=int, nargs="?", const=3, metavar="N", help=text)
    add_cluster_options(parser)
    add_import_option(parser)


def _add_watch(commands: Any) -> None:
    text = "follow a search from anywhere; with a source, predict each frame as it appears there"
    parser = add_command(commands, "watch", _watch, text)
    parser.add_argument("model", type=Path, help="trained network, such as runs/mine/best.keras, or a run")
    text = "folder that files are written to, or Zarr array that grows; without it the search of the run is followed"
    parser.add_argument("source", type=Path, nargs="?", help=text)
    text = "folder for the predictions and their times (default: the name of the source with -predicted)"
    parser.add_argument("--output", type=Path, metavar="FOLDER", help=text)
    text = "array with the images in a file or store (default: that of the network's input, else a usual name)"
    parser.add_argument("--variable", metavar="NAME", help=text)
    parser.add_argument("--tile", type=int, nargs="+", metavar="PIXELS", help="as for menndl predict")
    parser.add_argument("--overlap", type=int, nargs="+", metavar="PIXELS", help="as for menndl predict")
    parser.add_argument("--probabilities", action="store_true", help="write the probability of each class")
    text = "seconds without a change after which a file is complete (default: 0.02)"
    parser.add_argument("--settle", type=float, default=0.02, metavar="S", help=text)
    parser.add_argument("--frames", type=int, metavar="N", help="end after N frames (default: at Ctrl-C)")
    parser.add_argument("--idle", type=float, metavar="S", help="end when no frame has come for S seconds")
    add_import_option(parser)


def _watch(given: argparse.Namespace) -> int:
    if given.source is None:
        from menndl_dask.cli.following.follow import follow

        follow(given.model, sys.stderr)
        return 0
    from menndl_dask.cli import trust
    from menndl_dask.prediction.watch import watch

    for name, value in (("settle", given.settle), ("frames", given.frames), ("idle", given.idle)):
        if value is not None and value < 0:
            raise UserError(f"--{name}: expected a number ≥ 0, got {value:g}")
    trust.allow(given)
    source = given.source if given.source.name else given.source.resolve()  # such as the current folder
    if not given.output and not source.name:
        raise UserError(f"--output: expected a folder for the predictions of {source}, got none")
    target = given.output or source.with_name(f"{source.name.removesuffix('.zarr')}-predicted")
    watched = watch(
        given.model, given.source, target, variable=given.variable, tile=given.tile, overlap=given.overlap,
        probabilities=given.probabilities, settle_s=given.settle, frames=given.frames, idle_s=given.idle, notice=say,
    )  # fmt: skip
    say("", watched.table())
    return 0


def _predict(given: argparse.Namespace) -> int:
    from menndl_dask.cli import trust
    from menndl_dask.cluster.cluster import load_cluster
    from menndl_dask.prediction.prediction import predict

    trust.allow(given)
    names = ("variable", "tile", "overlap", "probabilities", "ensemble", "score", "positions")
    options = {name: getattr(given, name) for name in names}
    options["flips"] = False if given.flips is None else given.flips or True
    with (
        load_cluster(given.cluster, workers=given.workers) as cluster, cluster.client() as client,
        block_line(sys.stderr) as progress,
    ):  # fmt: skip
        path = predict(
            given.model, given.source, given.target, client=client, notice=say, progress=progress,
            pictures=partial(_write_page, given), **options,
        )  # fmt: skip
    say(f"written: {path}")
    return 0


def _write_page(given: argparse.Namespace, *found: Any) -> None:
    """Write a page with images, labels and predictions beside the target."""
    from menndl_dask.report.pictures.prediction_page import write_prediction_page

    page = given.target.with_suffix(".html")
    if page.exists():
        say(f"{page}: exists and is not overwritten: there is no page with pictures of these predictions")
        return
    say(f"page: {write_prediction_page(page, str(given.source), *found)}")
