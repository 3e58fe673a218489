"""Parsers of commands: their help texts, and the options that several share. Runs on the driver."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[[argparse.Namespace], int]


def add_command(commands: Any, name: str, function: Command | None, text: str) -> argparse.ArgumentParser:
    """Add a command to the subparsers of a parser.

    Parameters
    ----------
    commands
        What `argparse.ArgumentParser.add_subparsers` returns.
    name
        The command.
    function
        Runs it and returns its exit code; None for a group of commands.
    text
        What it does, as one line of the help.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    parser.set_defaults(function=function)
    return parser


def add_run_command(commands: Any, name: str, function: Command, text: str) -> argparse.ArgumentParser:
    """Add a command on a run directory, as `add_command` does."""
    parser = add_command(commands, name, function, text)
    parser.add_argument("run", type=Path, help="run directory")
    return parser


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the workers."""
    parser.add_argument("--cluster", default="local", metavar="PROFILE", help="cluster profile (default: local)")
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes of a local cluster")
