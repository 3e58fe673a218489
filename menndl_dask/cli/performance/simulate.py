"""The command ``menndl simulate``: a search on any number of workers, by discrete events. Runs on the driver."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from menndl_dask.cli.parser import add_command
from menndl_dask.errors import UserError
from menndl_dask.terminal import say

_MOST_EVALUATIONS = 20_000_000


def add_commands(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    text = "simulate a search on any number of workers: utilisation, loads, and where it saturates"
    parser = add_command(commands, "simulate", _simulate, text)
    parser.add_argument("--workers", type=int, required=True, metavar="N", help="trainings at the same time")
    parser.add_argument("--evaluations", type=int, required=True, metavar="N", help="networks to evaluate")
    text = "take the times of the evaluations and the search space of earlier runs"
    parser.add_argument("--from", dest="runs", nargs="+", type=Path, default=[], metavar="RUN", help=text)
    text = "mean time of an evaluation (default: 15.9, as on Summit; Patton et al. 2018)"
    parser.add_argument("--minutes", type=float, metavar="M", help=text)
    text = "standard deviation of the log-normal times divided by their mean (default: 0.5)"
    parser.add_argument("--spread", type=float, metavar="X", help=text)
    parser.add_argument("--limit", type=float, metavar="M", help="minutes after which an evaluation is ended")
    text = "numbers of islands to compare (default: 1, and as many as nothing is saturated with)"
    parser.add_argument("--islands", type=int, nargs="+", default=[], metavar="K", help=text)
    text = "GPUs of a node, to simulate workers: per_node too, which has one connection for all of them"
    parser.add_argument("--per-node", type=int, default=1, metavar="N", help=text)
    text = "evaluations of the real evolution whose times are measured (default: 600)"
    parser.add_argument("--sample", type=int, default=600, metavar="N", help=text)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of everything random (default: 0)")


def _simulate(given: argparse.Namespace) -> int:
    from menndl_dask.performance.simulation.plan import evaluations_of, simulate_search
    from menndl_dask.performance.simulation.scale import Evaluations
    from menndl_dask.run.run import Run

    numbers = [("workers", given.workers), ("evaluations", given.evaluations), ("per-node", given.per_node)]
    numbers += [("sample", given.sample), ("minutes", given.minutes), ("limit", given.limit)]
    numbers += [("islands", number) for number in given.islands]
    for name, value in numbers:
        if value is not None and value <= 0:
            raise UserError(f"--{name}: expected a number > 0, got {value:g}")
    for number in given.islands:
        if number > given.workers:
            raise UserError(f"--islands: expected at most one for each of {given.workers} workers, got {number}")
    if given.spread is not None and given.spread < 0:
        raise UserError(f"--spread: expected a number ≥ 0, got {given.spread:g}")
    if given.evaluations > _MOST_EVALUATIONS:
        raise UserError(f"--evaluations: expected at most {_MOST_EVALUATIONS:,}, got {given.evaluations:,}")
    runs = [Run(path) for path in given.runs]
    if runs:
        if given.minutes is not None or given.spread is not None or given.limit is not None:
            raise UserError("--minutes, --spread, --limit: expected none of them with --from, which has the times")
        evaluations = evaluations_of(runs)
    else:
        mean_s = 60 * (15.9 if given.minutes is None else given.minutes)
        limit_s = math.inf if given.limit is None else 60 * given.limit
        evaluations = Evaluations(mean_s, 0.5 if given.spread is None else given.spread, limit_s)
    say(f"the real evolution is timed on {given.sample:,} evaluations …")
    found = simulate_search(
        given.workers, given.evaluations, evaluations, islands=given.islands, per_node=given.per_node,
        sample=given.sample, run=runs[0] if runs else None, seed=given.seed,
    )  # fmt: skip
    say(found.table(), found.words())
    return 0
