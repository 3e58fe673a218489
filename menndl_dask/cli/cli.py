"""The command line ``menndl``. Runs on the driver."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from menndl_dask import __version__, workflow
from menndl_dask.cli import cluster, compare, data, doctor, export, predict, retrain, search
from menndl_dask.cli.parser import Parser
from menndl_dask.errors import UserError
from menndl_dask.program import guard

_DESCRIPTION = "Evolve a neural network made for your labelled images, on whatever machines you have."
_RESUMABLE = {"search", "resume", "compare", "retrain"}
_EXAMPLES = """examples:
  menndl convert my_images.npz my_images.zarr
  menndl check my_images.zarr
  menndl search my_images.zarr
  menndl predict runs/my_images/best.keras new_images.zarr predicted.zarr
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; see `menndl_dask.errors.ExitCode`."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    message = "stopped; the same command carries on" if _RESUMABLE & set(words) else "stopped"

    def run() -> int:
        parser = _parser()
        given = parser.parse_args(arguments)
        if given.debug:
            os.environ[guard.DEBUG] = "1"
        if given.command is None:
            parser.print_help()
            return 0
        _check_current_directory()
        if arguments is None:  # no process of this command imports what lies in the current directory without a name
            os.environ.setdefault("PYTHONSAFEPATH", "1")
        return int(given.function(given))

    return workflow.guarded(run, message, program="menndl")


def _check_current_directory() -> None:
    try:
        Path.cwd()
    except OSError as error:
        raise UserError(f"expected a current directory, got one that cannot be used: {error.strerror}") from error


def _parser() -> Parser:
    parser = Parser(
        "menndl", description=_DESCRIPTION, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"menndl_dask {__version__}")
    text = "show the traceback of an error; also MENNDL_DEBUG=1"
    parser.add_argument(guard.OPTION, action="store_true", help=text)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for module in (data, search, compare, retrain, export, predict, cluster, doctor):
        module.add_commands(commands)
    return parser
