"""The command ``menndl profile``. Runs on the driver."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from menndl_dask.cli.parser import add_command, add_import_option
from menndl_dask.files import write_text
from menndl_dask.problem import PRECISIONS
from menndl_dask.terminal import say

_BATCHES = (1, 8, 64)


def add_commands(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    text = "measure what each layer of a network, its predictions and its training reach on this machine"
    parser = add_command(commands, "profile", _profile, text)
    parser.add_argument("model", type=Path, metavar="RUN|NETWORK", help="a run, or a network such as best.keras")
    text = "batches to predict and to train on; layers are measured with the largest one that fits (default: 1 8 64)"
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=_BATCHES, metavar="N", help=text)
    text = "numbers that layers compute with (default: those of the run, or float32)"
    parser.add_argument("--precision", choices=PRECISIONS, help=text)
    text = "about as long is each measurement repeated (default: 0.5)"
    parser.add_argument("--seconds", type=float, default=0.5, metavar="S", help=text)
    text = "where to write the picture (default: profile.svg in the run, NETWORK.profile.svg beside a network)"
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help=text)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, and nothing else")
    add_import_option(parser)


def _profile(given: argparse.Namespace) -> int:
    from menndl_dask.cli import trust
    from menndl_dask.performance.profile import profile
    from menndl_dask.performance.profile_picture import profile_picture
    from menndl_dask.performance.profile_source import profiled_network
    from menndl_dask.performance.profile_table import profile_text

    trust.allow(given)
    name, genome, problem = profiled_network(given.model)
    if not given.json:
        say(f"measuring {name}; this takes about a minute …")
    measured = profile(genome, problem, given.batch_sizes, given.precision, given.seconds)
    default = given.model / "profile.svg" if given.model.is_dir() else given.model.with_suffix(".profile.svg")
    picture = given.picture or default
    write_text(picture, profile_picture(measured, name))
    if given.json:
        say(json.dumps({"network": name, **measured.to_dict(), "picture": str(picture)}, indent=1))
    else:
        say(f"{profile_text(measured)}\npicture: {picture}")
    return 0
