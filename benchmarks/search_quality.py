"""How good a network is found within so many evaluations: our evolution beside its rivals, on simulated workers.

    python -m benchmarks.search_quality --seeds 10 --workers 1 16 128 --landscapes macro digits cell layered

For each landscape, number of workers and optimizer it prints the mean regret (the value of the best network there is,
less the value without noise of the network with the best result) with its standard error, the simulated time to the
best thousandth, and the milliseconds of an ask and tell. With `--each` every seed has a made-up landscape of its own,
so that the standard errors say how much problems differ too. With `--found` the best of all networks that were
evaluated counts in place of the one with the best result, which may only have been lucky: what the search itself has
come to, whatever the noise lets one see of it. `--utilisation` prints instead how busy workers are with
heavy-tailed times, beside generations.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.landscapes import DIGITS, MACRO, MADE_UP, Cell, Digits, HeavyTailed, Macro
from benchmarks.rivals import RandomSearch, RegularizedEvolution, ScreenedGA, SteadyState
from benchmarks.simulation import Landscape, Optimizer, Trace, simulate, simulate_generations
from menndl_dask.evolution.evolution import Evolution
from menndl_dask.space.space import SearchSpace

Make = Callable[[SearchSpace, int, int], Optimizer]
POINTS = (100, 300, 1000)
TABLES: dict[str, Callable[[Path], Landscape]] = {"macro": Macro, "digits": Digits}


def optuna_search(space: SearchSpace, seed: int, workers: int, *, sampler: str) -> Optimizer:
    """Return an Optuna sampler over a space."""
    import optuna

    from benchmarks.optuna_search import OptunaSearch

    samplers: dict[str, Any] = {"tpe": optuna.samplers.TPESampler, "nsga2": optuna.samplers.NSGAIISampler}
    return cast(Optimizer, OptunaSearch(space, seed, samplers[sampler](seed=seed)))


OPTIMIZERS: dict[str, Make] = {
    "random search": RandomSearch,
    "regularized evolution 100/25": RegularizedEvolution,
    "regularized evolution 30/10": partial(RegularizedEvolution, size=30, sample=10, repeat=False),
    "steady-state GA": SteadyState,
    "Optuna TPE": partial(optuna_search, sampler="tpe"),
    "Optuna NSGA-II": partial(optuna_search, sampler="nsga2"),
    "screened GA": ScreenedGA,
    "Evolution, no screening": partial(Evolution, screen=False),
    "Evolution": Evolution,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison that the command line describes."""
    options = _options(arguments)
    if options.utilisation:
        _utilisation(options.evaluations, options.seeds)
        return 0
    for name in options.landscapes:
        landscapes = _landscapes(name, options)
        if not landscapes:
            continue
        for workers in options.workers:
            print(f"\n{name}, {workers} workers\n" + _line("optimizer", ["@100", "@300", "@1000", "top 0.1 %", "ms"]))
            for optimizer in options.optimizers:
                print(_row(optimizer, landscapes, workers, options.evaluations, found=options.found), flush=True)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 16, 128])
    names = [*TABLES, *MADE_UP]
    parser.add_argument("--landscapes", nargs="+", choices=names, default=names)
    parser.add_argument("--optimizers", nargs="+", choices=list(OPTIMIZERS), default=list(OPTIMIZERS))
    parser.add_argument("--macro", type=Path, default=MACRO, help="the table of NAS-Bench-Macro")
    parser.add_argument("--digits", type=Path, default=DIGITS, help="the table that benchmarks.digits_table writes")
    parser.add_argument("--each", action="store_true", help="another made-up landscape for each seed")
    parser.add_argument(
        "--found", action="store_true", help="the best network evaluated, not that with the best result"
    )
    parser.add_argument("--utilisation", action="store_true")
    return parser.parse_args(arguments)


def _landscapes(name: str, options: argparse.Namespace) -> list[Landscape]:
    """Return the landscape for each seed; none where a table is missing."""
    if name not in TABLES:
        seeds = range(1, options.seeds + 1) if options.each else [0]
        made = [cast(Landscape, MADE_UP[name](seed=seed)) for seed in seeds]
        return made if options.each else made * options.seeds
    path: Path = getattr(options, name)
    if options.each or not path.exists():
        print(f"{name}: skipped, " + ("there is only one such landscape" if options.each else f"there is no {path}"))
        return []
    return [TABLES[name](path)] * options.seeds


def _row(name: str, landscapes: Sequence[Landscape], workers: int, evaluations: int, *, found: bool) -> str:
    make = OPTIMIZERS[name]
    try:
        traces = [
            simulate(make, landscape, evaluations, workers, seed, clock=time.process_time)
            for seed, landscape in enumerate(landscapes)
        ]
    except ImportError as error:
        return _line(name, [f"skipped: {error}"])
    cells = []
    for point in POINTS:
        # early completions favour fast networks: with many workers only whole runs compare
        if point > evaluations or (point < evaluations and point < 2 * workers):
            cells.append("")
            continue
        pairs = zip(landscapes, traces, strict=True)
        regret = np.array([landscape.best - trace.value_at(point, found=found) for landscape, trace in pairs])
        cells.append(f"{regret.mean():.5f} ± {_error(regret):.5f}")
    pairs = zip(landscapes, traces, strict=True)
    hours = np.array([trace.seconds_to(landscape.good) for landscape, trace in pairs]) / 3600
    reached = np.isfinite(hours)
    cells.append(f"{np.median(hours):.2f} h" if reached.mean() > 0.5 else f"{reached.sum()} of {len(traces)}")
    cells.append(f"{1e3 * np.mean([trace.driver_s for trace in traces]) / evaluations:.1f}")
    return _line(name, cells)


def _error(values: Any) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def _line(name: str, cells: Sequence[str]) -> str:
    return "| " + " | ".join([name, *cells]) + " |"


def _utilisation(evaluations: int, seeds: int, workers: int = 128) -> None:
    landscape = cast(Landscape, HeavyTailed(Cell()))
    ours: list[Trace] = []
    theirs: list[Trace] = []
    for seed in range(seeds):
        ours.append(simulate(Evolution, landscape, evaluations, workers, seed, count_driver=True))
        theirs.append(simulate_generations(partial(Evolution, screen=False), landscape, evaluations, workers, seed))
    print(f"{workers} workers, {evaluations} evaluations of 60 s on average, log-normal and as wide as their mean")
    steady = np.mean([t.utilisation for t in ours])
    print(f"asynchronous, until the last drain, the driver's time counted: {steady:.4f}")
    generational = np.mean([t.busy / (t.workers * t.span) for t in theirs])
    print(f"generations of {workers}: {generational:.4f}")


if __name__ == "__main__":
    sys.exit(main())
