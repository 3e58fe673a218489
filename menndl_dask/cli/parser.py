"""Parsers of commands: their help texts, and the options that several share. Runs on the driver."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from menndl_dask import own_code
from menndl_dask.errors import cut_in_the_middle, nearest
from menndl_dask.text import printable

_LARGEST = 10.0**30  # in an option: larger numbers would overflow somewhere

Command = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest known word."""

    def error(self, message: str) -> NoReturn:
        """Write a message in one line, and exit."""
        line = printable(cut_in_the_middle(f"{self.prog}: {message}; see {self.prog} --help", most=490), one_line=True)
        self.exit(2, f"{line}\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse words; an unknown option is an error with the nearest known one."""
        given, unknown = self.parse_known_args(args, namespace)
        if unknown:
            near = nearest(unknown[0], self.known_options() - {unknown[0]}) if unknown[0].startswith("-") else ""
            self.error(f"unknown on the command line: {' '.join(unknown)!r}{near}")
        return given

    def known_options(self) -> set[str]:
        """Return the options of this parser and of its commands."""
        known = set(self._option_string_actions)
        for action in self._actions:
            if isinstance(action.choices, dict):  # commands
                known.update(*(parser.known_options() for parser in action.choices.values()))
        return known

    def _get_value(self, action: argparse.Action, text: str) -> Any:
        kind = "an integer" if action.type is int else "a number" if action.type is float else ""
        try:
            value = super()._get_value(action, text)
        except argparse.ArgumentError:
            if not kind:
                raise
            raise argparse.ArgumentError(action, f"expected {kind}, got {text!r}") from None
        if kind and not abs(value) <= _LARGEST:  # also NaN
            raise argparse.ArgumentError(action, f"expected {kind} of at most {_LARGEST:g}, got {text!r}")
        return value

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            expected = f"expected one of {', '.join(map(str, action.choices))}, got {value!r}"
            raise argparse.ArgumentError(action, f"{expected}{nearest(value, action.choices)}")


def add_command(commands: Any, name: str, function: Command | None, text: str) -> Parser:
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
    parser: Parser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    parser.set_defaults(function=function)
    return parser


def add_run_command(commands: Any, name: str, function: Command, text: str) -> Parser:
    """Add a command on a run directory, as `add_command` does."""
    parser = add_command(commands, name, function, text)
    parser.add_argument("run", type=Path, help="run directory")
    return parser


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the workers."""
    parser.add_argument("--cluster", default="local", metavar="PROFILE", help="cluster profile (default: local)")
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes of a local cluster")


def add_import_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names code of the user's own."""
    text = "modules, or names in them such as my_losses:focal, that a run or a network names and that may be imported"
    parser.add_argument(
        own_code.OPTION, dest="imports", action="extend", nargs="+", default=[], metavar="NAME", help=text
    )
