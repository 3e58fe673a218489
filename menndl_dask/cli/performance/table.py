"""The table of a run's performance: options of ``menndl report``. Runs on the driver."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from menndl_dask.errors import RunError, UserError
from menndl_dask.terminal import say

if TYPE_CHECKING:
    from menndl_dask.run.run import Run

_ENDINGS = ".csv, .md, .tex"


def add_performance_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of a command on a run."""
    text = f"also write the run's performance as a table, and show it; the ending says how: {_ENDINGS}"
    parser.add_argument("--performance", type=Path, metavar="FILE", help=text)
    text = "grams of CO2 of a kilowatt hour where the run was, for the table of its performance"
    parser.add_argument("--carbon", type=float, metavar="G/KWH", help=text)


def tell_performance(run: Run, given: argparse.Namespace) -> None:
    """Write and show the table, if it was asked for.

    Raises
    ------
    UserError
        If the ending of the file is not known, or the carbon is no number ≥ 0 or has no table.
    RunError
        If the run has no results yet, or the file cannot be written.
    """
    from menndl_dask.report.performance import figures_of, performance_table, write_table

    if given.carbon is not None and not (given.carbon >= 0 and given.performance is not None):
        raise UserError(f"--carbon: expected a number ≥ 0, and --performance FILE beside it, got {given.carbon:g}")
    if given.performance is None:
        return
    figures = figures_of(run.usage(), given.carbon)
    if not figures:
        raise RunError(f"{run.path}: expected a run with results, got none yet")
    write_table(given.performance, figures)
    say(performance_table(figures), f"performance: {given.performance}")
