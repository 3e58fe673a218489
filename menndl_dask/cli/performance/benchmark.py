"""The command ``menndl benchmark``: how a cluster scales, measured with networks of a space. Runs on the driver."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menndl_dask.cli.parser import add_command, add_import_option
from menndl_dask.cli.problem import add_problem_options, read_problem
from menndl_dask.errors import UserError
from menndl_dask.problem import BACKENDS, PRECISIONS, Budget, Limits
from menndl_dask.terminal import say
from menndl_dask.text import printable

if TYPE_CHECKING:
    from menndl_dask.cluster.profile import Profile

_KINDS = ("strong", "weak")


def add_commands(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    text = "measure how a cluster scales: train networks drawn from the space on 1, 2, 4, … workers, without a search"
    parser = add_command(commands, "benchmark", _benchmark, text)
    add_problem_options(parser)
    group = parser.add_argument_group("benchmark")
    group.add_argument("--cluster", default="local", metavar="PROFILE", help="cluster profile (default: local)")
    text = "numbers of workers, such as 1,2,4 (default: 1, 2, 4, … up to all of the profile)"
    group.add_argument("--workers", type=_numbers, metavar="LIST", help=text)
    text = "networks of strong scaling (default: 4 for each of the most workers)"
    group.add_argument("--networks", type=int, metavar="N", help=text)
    text = "strong: the same networks on all numbers of workers; weak: the same for each worker (default: both)"
    group.add_argument("--scaling", choices=(*_KINDS, "both"), default="both", help=text)
    group.add_argument("--steps", type=int, default=50, metavar="N", help="optimiser steps of a network (default: 50)")
    group.add_argument("--batch-size", type=int, default=32, metavar="N", help="samples in a step (default: 32)")
    text = f"numbers that layers compute with: {', '.join(PRECISIONS)} (default: float32)"
    group.add_argument("--precision", choices=PRECISIONS, default="float32", metavar="KIND", help=text)
    text = f"of Keras: {', '.join(BACKENDS)}; by default what KERAS_BACKEND says on a worker"
    group.add_argument("--backend", choices=BACKENDS, metavar="NAME", help=text)
    text = "weights of a network (default: 20e6)"
    group.add_argument("--max-parameters", type=float, default=20e6, metavar="N", help=text)
    text = "FLOPs of a network for one sample, forward (default: no limit)"
    group.add_argument("--max-flops", type=float, default=math.inf, metavar="N", help=text)
    text = "seconds a training may take (default: 600)"
    group.add_argument("--time-limit", type=float, default=600.0, metavar="S", help=text)
    text = "directory of the benchmark (default: runs/ and the name of the data, with -benchmark)"
    group.add_argument("--run", type=Path, metavar="DIR", help=text)
    group.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the draws (default: 0)")
    add_import_option(parser)


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers such as 1,2,4, got {text!r}") from None


def _benchmark(given: argparse.Namespace) -> int:
    from menndl_dask.cli import trust
    from menndl_dask.cluster.profile import read_profile
    from menndl_dask.performance.benchmark import benchmark
    from menndl_dask.performance.scaling_table import scaling_table, write_scaling
    from menndl_dask.run.progress import ProgressLine
    from menndl_dask.space.space import SearchSpace

    for name in ("networks", "steps", "batch_size", "max_parameters", "max_flops", "time_limit"):
        value = getattr(given, name)
        if value is not None and value <= 0:
            raise UserError(f"--{name.replace('_', '-')}: expected a number > 0, got {value:g}")
    trust.allow(given)
    profile = read_profile(given.cluster)
    workers = given.workers or _doubling(profile)
    budget = Budget(
        steps=given.steps, batch_size=given.batch_size, precision=given.precision, backend=given.backend
    ).without_early_stopping()
    problem = read_problem(given, budget=budget, seed=given.seed)
    space = SearchSpace.image(problem, max_parameters=given.max_parameters, max_flops=given.max_flops)
    directory = given.run or Path("runs") / f"{Path(given.data.rstrip('/')).name.removesuffix('.zarr')}-benchmark"
    scaling = benchmark(
        problem, space, directory, given.cluster, networks=given.networks or 4 * max(workers), workers=workers,
        kinds=_KINDS if given.scaling == "both" else (given.scaling,), seed=given.seed,
        limits=Limits(given.time_limit), progress=lambda: ProgressLine(sys.stderr), say=say,
    )  # fmt: skip
    say("Measured:", scaling_table(scaling))
    say(printable(f"written: {', '.join(map(str, write_scaling(directory, scaling)))}", one_line=True))
    return 0


def _doubling(profile: Profile) -> list[int]:
    """Return 1, 2, 4, … and the number of workers of a profile."""
    from menndl_dask.cluster.local_workers import LocalWorkers
    from menndl_dask.cluster.profile import Local, Scheduler

    if isinstance(profile, Scheduler):
        raise UserError("--workers: expected none with the profile of a running scheduler, which has its own workers")
    if isinstance(profile, Local):
        least, most = 1, LocalWorkers(profile).count
    else:
        least = profile.layout().tasks  # a batch job has all of its workers
        most = least * (profile.jobs if isinstance(profile.jobs, int) else profile.jobs[1])
    return sorted({*(least * 2**power for power in range((most // least).bit_length())), most})
