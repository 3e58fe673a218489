"""The commands ``menndl convert | check``. Runs on the driver."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from menndl_dask.cli.parser import add_command
from menndl_dask.cli.problem import add_problem_options
from menndl_dask.problem import UNITS
from menndl_dask.search.options import add_plan_options, check_counts
from menndl_dask.terminal import progress_bar, say


def add_commands(commands: Any) -> None:
    """Add the commands to a parser's subparsers."""
    add_conversion(commands)
    text = "describe a data set, warn of mistakes in it, and score simple predictors"
    parser = add_command(commands, "check", _check, text)
    add_problem_options(parser)
    add_plan_options(parser)
    text = "plan without a training of some seconds, so that times are not known"
    parser.add_argument("--no-trial", action="store_true", help=text)
    text = "write a page with samples of each class, and with those that are worth a look (default: name of DATA.html)"
    parser.add_argument("--html", type=Path, nargs="?", const=Path(), metavar="FILE", help=text)


def add_conversion(commands: Any) -> None:
    """Add the command ``menndl convert``."""
    parser = add_command(commands, "convert", _convert, "write images of another format to Zarr, with their labels")
    text = "file of images (.npz, HDF5, NetCDF, TIFF, …), a folder of images, or keras:NAME such as keras:fashion_mnist"
    parser.add_argument("source", type=Path, help=text)
    parser.add_argument("target", type=Path, help="Zarr store to write; must not exist")
    text = "array with the images, where it has no usual name; several: several views"
    parser.add_argument("--images", nargs="+", default=(), metavar="NAME", help=text)
    text = "array with the labels, or a file or folder that holds them; FILE:NAME is a column or array in it"
    parser.add_argument("--label", metavar="NAME", help=text)
    text = "dimensions of the images: sample channel y x; without sample they are one image: z y x"
    parser.add_argument("--dims", nargs="+", metavar="NAME", help=text)
    text = "names of the classes, by their numbers; of colours by their order, or #rrggbb=name"
    parser.add_argument("--classes", nargs="+", default=(), metavar="NAME", help=text)
    parser.add_argument("--fill", type=int, metavar="VALUE", help="class number of what has no label")
    text = "value in the images that stands for a missing one: becomes NaN"
    parser.add_argument("--nodata", type=float, metavar="VALUE", help=text)
    text = "labels are numbers of objects: boundary[=WIDTH] makes a class of their boundaries (default: 1 pixel)"
    parser.add_argument("--instances", metavar="KIND", help=text)
    text = "radius in pixels of the discs that a table of positions (columns x, y) becomes (default: 3)"
    parser.add_argument("--radius", type=float, metavar="R", help=text)
    text = "make heat maps of positions instead: Gaussians of height 1 with this standard deviation in pixels"
    parser.add_argument("--heat", type=float, metavar="SIGMA", help=text)
    parser.add_argument("--chips", type=int, metavar="N", help="cut the images into parts of N pixels along each side")
    text = "label of a chip: whether the share of a class in its mask is at least SHARE (default: 0.5)"
    parser.add_argument("--label-share", metavar="CLASS[=SHARE]", help=text)
    text = "layout of a published data set or a scene: cremi, snemi3d, isbi, nnunet, l8biome, landsat or sentinel2"
    parser.add_argument("--layout", metavar="NAME", help=text)
    parser.add_argument("--bands", nargs="+", default=(), metavar="NAME", help="bands to take, with --layout")
    parser.add_argument("--chunk", type=int, metavar="N", help="samples in a chunk (default: some megabytes)")


def _convert(given: argparse.Namespace) -> int:
    from menndl_dask.data.formats.conversion import write_converted
    from menndl_dask.data.formats.conversion_options import Options

    values = {field.name: getattr(given, field.name) for field in fields(Options)}
    values |= {name: tuple(values[name]) for name in ("images", "classes", "bands")}
    with progress_bar("writing") as progress:
        done = write_converted(given.source, given.target, Options(**values), progress)
    say(str(done))
    return 0


def _check(given: argparse.Namespace) -> int:
    from menndl_dask.cli import trust
    from menndl_dask.cli.planning import new_plan, open_planned
    from menndl_dask.cluster.profile import read_profile
    from menndl_dask.data.check.check import check_data

    check_counts(given, *UNITS, "batch_size")
    profile = read_profile(given.cluster)
    trust.allow(given)
    problem = open_planned(given)
    found = check_data(problem)
    say(*found.parts())
    if given.html is not None:
        from menndl_dask.report.pictures.data_page import write_data_page

        own = Path(f"{Path(given.data).resolve().name.removesuffix('.zarr')}.html")
        say(f"page: {write_data_page(found, own if given.html == Path() else given.html)}")
    plan = new_plan(given, problem, profile, trial=not given.no_trial)
    say("", *plan.parts())
    return 0
