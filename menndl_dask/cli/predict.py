"""The command ``menndl predict``. Runs on the driver."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from menndl_dask.cli import trust
from menndl_dask.cli.parser import add_cluster_options, add_command
from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.terminal import say


def add_commands(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
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
    text = "print the metric of the run for the labels of the images, and its spread over the images"
    parser.add_argument("--score", action="store_true", help=text)
    parser.add_argument("--probabilities", action="store_true", help="write the probability of each class")
    add_cluster_options(parser)
    trust.add_import_option(parser)


def _predict(given: argparse.Namespace) -> int:
    from menndl_dask.prediction.prediction import predict

    trust.allow(given)
    names = ("variable", "tile", "overlap", "probabilities", "ensemble", "score")
    options = {name: getattr(given, name) for name in names}
    options["flips"] = False if given.flips is None else given.flips or True
    with load_cluster(given.cluster, workers=given.workers) as cluster, cluster.client() as client:
        path = predict(given.model, given.source, given.target, client=client, notice=say, **options)
    say(f"written: {path}")
    return 0
