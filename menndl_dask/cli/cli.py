"""The command line ``menndl``. Runs on the driver.

The modules of the commands load what a command needs when it runs: its help, and completion in a shell, need no Dask.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path, PurePath

from menndl_dask import __version__
from menndl_dask.cli import cluster, compare, data, doctor, export, predict, retrain, search
from menndl_dask.cli.parser import Parser, add_command
from menndl_dask.cli.performance import benchmark, forecast, profile, simulate
from menndl_dask.errors import MenndlError, UserError, message_of, shortened
from menndl_dask.program import guard

_DESCRIPTION = "Evolve a neural network made for your labelled images, on whatever machines you have."
_RESUMABLE = {"search", "resume", "compare", "retrain", "benchmark"}
_QUICK_START = """quick start:
  menndl convert my_images.npz my_images.zarr  # .npz, HDF5, TIFF, image folder
  menndl check my_images.zarr                  # what is wrong in it, and a plan
  menndl search my_images.zarr                 # follows it; or with --hours 8
  menndl watch runs/my_images                  # in another terminal: how far
  menndl predict runs/my_images/best.keras new_images.zarr predicted.zarr

menndl help COMMAND explains a command.
If a search is stopped, the same command resumes it.
"""
_OF_DASK = {"dask", "distributed"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; see `menndl_dask.errors.ExitCode`."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    message = "stopped; the same command carries on" if _RESUMABLE & set(words) else "stopped"

    def run() -> int:
        parser = _parser()
        _complete(parser)
        given = parser.parse_args(_as_option(words))
        if given.debug:
            os.environ[guard.DEBUG] = "1"
        if given.command is None:
            parser.print_help()
            return 0
        _check_current_directory()
        if arguments is None:  # no process of this command imports what lies in the current directory without a name
            os.environ.setdefault("PYTHONSAFEPATH", "1")
        try:
            return int(given.function(given))
        except Exception as error:
            if _is_of_configuration(error):
                where = "a file in ~/.config/dask or /etc/dask, or a variable DASK_…"
                text = shortened(message_of(error))
                raise UserError(f"the configuration of Dask ({where}) cannot be used: {text}") from error
            raise

    return guard.guarded(run, message, program="menndl")


def _as_option(words: Sequence[str]) -> list[str]:
    """Return a command line with the word ``help`` as the option.

    >>> _as_option(["help"]), _as_option(["help", "cluster", "check"]), _as_option(["check", "help"])
    (['--help'], ['cluster', 'check', '--help'], ['check', 'help'])
    """
    return [*words[1:], "--help"] if words[:1] == ["help"] else list(words)


def _is_of_configuration(error: Exception) -> bool:
    """Return whether Dask has raised an exception while it was imported: it reads its configuration then."""
    if isinstance(error, (ImportError, MenndlError)):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.name == "<module>" and _OF_DASK & set(PurePath(frame.filename).parts) for frame in frames)


def _complete(parser: Parser) -> None:
    """Answer a shell that asks for completions, and end; see ``menndl completion``."""
    if "_ARGCOMPLETE" in os.environ and find_spec("argcomplete"):
        import argcomplete

        argcomplete.autocomplete(parser)


def _completion(given: argparse.Namespace) -> int:
    if not find_spec("argcomplete"):
        raise UserError("completion needs argcomplete: pip install 'menndl_dask[completion]'")
    from argcomplete.shell_integration import shellcode

    print(shellcode(["menndl"], shell=given.shell))
    return 0


def _check_current_directory() -> None:
    try:
        Path.cwd()
    except OSError as error:
        raise UserError(f"expected a current directory, got one that cannot be used: {error.strerror}") from error


def _parser() -> Parser:
    parser = Parser(
        "menndl", description=_DESCRIPTION, epilog=_QUICK_START, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"menndl_dask {__version__}")
    text = "show the traceback of an error; also MENNDL_DEBUG=1"
    parser.add_argument(guard.OPTION, action="store_true", help=text)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    own = (data, search, compare, retrain, export, predict, profile, benchmark, forecast, simulate, cluster, doctor)
    for module in own:
        module.add_commands(commands)
    text = 'print what a shell needs to complete commands and options: eval "$(menndl completion bash)"'
    completion = add_command(commands, "completion", _completion, text)
    completion.add_argument("shell", choices=("bash", "zsh", "fish", "tcsh"), help="the shell, such as bash")
    return parser
