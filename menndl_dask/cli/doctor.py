"""The command ``menndl doctor``: is a run directory sound, and what of it can be repaired? Runs anywhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from menndl_dask.cli.parser import add_run_command
from menndl_dask.errors import ExitCode
from menndl_dask.terminal import say
from menndl_dask.text import counted, printable


def add_commands(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = add_run_command(commands, "doctor", _doctor, "check every file of a run, and repair what can be repaired")
    parser.add_argument("--repair", action="store_true", help="repair what can be, and keep what was there")


def _doctor(given: argparse.Namespace) -> int:
    from menndl_dask.run.doctor import examine, repair

    run: Path = given.run
    findings = list(examine(run))
    wrong = [found for found in findings if not found.is_right]
    if given.repair and wrong:
        for found in wrong:
            say(str(found))
        for done in repair(run, findings):
            say(printable(f"repaired: {done}", one_line=True))
        findings = list(examine(run))
        wrong = [found for found in findings if not found.is_right]
    for found in findings:
        say(str(found))
    say(f"{run}: {counted(len(wrong), 'problem') if wrong else 'all right'}")
    return ExitCode.PROBLEM_FOUND if wrong else ExitCode.SUCCESS
