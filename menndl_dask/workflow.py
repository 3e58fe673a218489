"""The main job of scripts and of the command line: search, compare and report. Runs on the driver.

It starts a cluster, searches, retrains the best networks and the standard network with a longer, equal budget,
measures them on the test split, and writes a table and the report.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from distributed import Client

from menndl_dask import files, own_code
from menndl_dask.cluster import unguarded
from menndl_dask.cluster.batch.site import Site
from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.cluster.profile import Profile, profile_file, read_profile
from menndl_dask.errors import ExitCode, MenndlError, RunError, reading
from menndl_dask.evaluation import inference
from menndl_dask.evaluation.evaluation import evaluate as train_and_measure
from menndl_dask.evaluation.simple_scores import keep_simple_scores
from menndl_dask.evolution.evolution import DRAWN
from menndl_dask.evolution.random_search import RandomSearch
from menndl_dask.genome.individual import Individual
from menndl_dask.problem import Limits, Problem
from menndl_dask.program.guard import guarded
from menndl_dask.program.interruption import say_at_end
from menndl_dask.report.conclusion import findings, fittest, shortfall
from menndl_dask.report.headline import headline
from menndl_dask.report.report import write_report
from menndl_dask.run.forecast.actual import line_beside
from menndl_dask.run.journal import check_free
from menndl_dask.run.layout import folder_of
from menndl_dask.run.progress import Progress, ProgressLine
from menndl_dask.run.recorder import CONTENDERS
from menndl_dask.run.run import Run
from menndl_dask.run.settings import FILE, freeze, frozen_settings
from menndl_dask.run.signature import Signed, own_key
from menndl_dask.search import comparison
from menndl_dask.search.detached_driver import detach
from menndl_dask.search.forecast.live import LiveForecast
from menndl_dask.search.initial_networks import KEY, Beginning, to_record, usual_names
from menndl_dask.search.islands import supervisor
from menndl_dask.search.islands.resources import island_resources
from menndl_dask.search.live.live import LivePage
from menndl_dask.search.live.notebook_progress import usual_progress
from menndl_dask.search.options import Options, add_options
from menndl_dask.search.own_kinds import let_workers_find, own_names
from menndl_dask.search.plan.machine import Machine
from menndl_dask.search.remote_evaluation import Evaluate
from menndl_dask.search.search import Search
from menndl_dask.space.space import SearchSpace
from menndl_dask.terminal import say
from menndl_dask.text import counted, duration, fitness_text, metric_title, printable, stopped_by
from menndl_dask.tracking.tracking import tracking

__all__ = ["Options", "add_options", "compare", "compare_with", "guarded", "main_job"]

_WAIT_MINUTES = 30.0  # without any worker, unless batch systems start them
_ENDLESS = 1e6  # hours: the time of random search is that on workers
_FEWEST_DRAWN = 6  # random networks at the start of a short search


def main_job(
    problem: Problem, space: SearchSpace, options: Options, *, arguments: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> int:  # fmt: skip
    """Search, retrain the best networks and the standard one, compare them, and write a table and the report.

    Parameters
    ----------
    problem
        The problem.
    space
        The search space.
    options
        Options of the user.
    arguments
        Command line to record in the run; by default that of this process.
    progress
        Shows the progress of the search; by default a line on the standard error, or a bar in a notebook.

    Returns
    -------
    int
        Exit code: 0, 1 if no network has succeeded, or 130 if the search was stopped before its budget was spent.
    """
    unguarded.leave_if_imported()
    typed = list(sys.argv if arguments is None else arguments)
    names = options.initial or usual_names(options.run, options.evaluations)
    beginning = Beginning.of(names, problem, space, options.run, options.seed)
    space = beginning.space
    recorded = {**_settings(typed, problem, space, options), KEY: to_record(beginning.networks)}
    say(_describe(problem))
    if options.plan is not None:
        say(options.plan.text())
    if beginning.lines:
        say("\n".join(beginning.lines))
    # before batch jobs are submitted: can the run be resumed with these settings?
    own = options.run if options.island is None else folder_of(options.run, options.island)
    if (own / FILE).exists():
        freeze(own / FILE, frozen_settings(problem, space, options.seed, options.limits, {}))
    if options.detach:
        if options.plan is not None and not (options.run / FILE).exists():  # the jobs follow this plan
            options.run.mkdir(parents=True, exist_ok=True)
            freeze(options.run / FILE, frozen_settings(problem, space, options.seed, options.limits, recorded))
        return _detach(own, options, typed)
    check_free(own)
    on_change = _on_change(options)
    if options.islands is not None:
        return _search_islands(problem, space, options, typed, recorded, on_change)
    search = Search(
        problem,
        space,
        options.run,
        initial=[given.genome for given in beginning.networks],
        # fewer in a short search
        random=DRAWN if options.evaluations is None else min(DRAWN, max(_FEWEST_DRAWN, options.evaluations // 3)),
        seed=options.seed,
        limits=options.limits,
        settings=recorded,
        island=options.island,
    )
    return _search(search, options, typed, progress, on_change)


def _search(
    search: Search, options: Options, typed: Sequence[str], progress: Progress | None,
    on_change: Callable[[Run], Path],
) -> int:  # fmt: skip
    """Search with this driver, then compare the best networks, unless other islands still search."""
    is_supervised = options.island is not None and supervisor.is_supervised()
    loaded = load_cluster(options.cluster, workers=options.workers, backend=options.budget.backend)
    say(f"starting the workers of {options.cluster}{f': {loaded.description}' if loaded.description else ''} …")
    with (
        _told_at_ctrl_c(options.run, typed, is_supervised), loaded as cluster, cluster.client() as client,
    ):  # fmt: skip
        line = progress or usual_progress()
        live, page = LivePage(client, options.run, line), search.path / "report.html"
        say(f"dashboard: {cluster.live or 'none'}   report: {page} (rewritten while it runs)")
        wait = _wait(options, cluster.profile)
        search.run(
            client, evaluations=options.evaluations, hours=options.hours, wait_minutes=wait, progress=live,
            on_change=lambda found: live.show_report(on_change(found)),
            forecast=_forecast(options, line, cluster.profile),
        )  # fmt: skip
        on_change(Run(search.path))
        status = ExitCode.SUCCESS if search.stopped is None else ExitCode.STOPPED
        if is_supervised:
            return status
        run = Run(options.run)
        with supervisor.last_one(options.run, options.island) as is_last:
            if search.stopped is None and is_last:
                _compare(run, client, options, wait, live)
    if not is_last:
        say(f"{search.path}: done; the last island to end compares the networks of all")
        return status
    return _conclude(run, search.stopped, typed)


def _forecast(options: Options, line: Progress, profile: Profile) -> LiveForecast:
    """Return what says how long a search will take, in a line above the progress."""
    made = None if options.plan is None else options.plan.forecast
    shown = line.say if isinstance(line, ProgressLine) else say
    return LiveForecast(made, shown, Machine.of(profile, options.workers).per_node)


def _search_islands(
    problem: Problem, space: SearchSpace, options: Options, typed: Sequence[str], recorded: Mapping[str, Any],
    on_change: Callable[[Run], object],
) -> int:  # fmt: skip
    """Search with a driver on each island, then compare the best networks of all."""
    assert options.islands is not None
    profile = read_profile(options.cluster)
    commands = {}
    for island, given in enumerate(island_resources(profile, options.workers, options.islands)):
        commands[island] = supervisor.Command(_again(typed, "--island", str(island), *given.words), given.environment)
    outputs = folder_of(options.run, 0) / supervisor.OUTPUT
    say(f"starting {options.islands} islands; output of their drivers: {outputs}, …")
    say(f"report: {options.run / 'report.html'} (rewritten while it runs)")
    made = None if options.plan is None else options.plan.forecast
    if made is not None:
        say(made.line())
    settings = frozen_settings(problem, space, options.seed, options.limits, recorded)
    with _told_at_ctrl_c(options.run, typed):
        stopped = supervisor.supervise(
            options.run, settings, commands, evaluations=options.evaluations, hours=options.hours,
            progress=usual_progress(), on_change=on_change, forecast=made,
        )  # fmt: skip
        run = Run(options.run)
        if stopped is None:
            loaded = load_cluster(profile, workers=options.workers, backend=options.budget.backend)
            with loaded as cluster, cluster.client() as client:
                live = LivePage(client, options.run, usual_progress())
                say(f"dashboard: {cluster.live or 'none'}")
                _compare(run, client, options, _wait(options, profile), live)
    return _conclude(run, stopped, typed)


def _on_change(options: Options) -> Callable[[Run], Path]:
    """Return what is done after new results: the report is written, and they are passed on if the user wants that."""
    tracked = None if options.track is None else tracking(options.track, options.run)

    def act(run: Run) -> Path:
        path = write_report(run, is_running=True)
        if tracked is not None:
            tracked(run)
        return path

    return act


def _wait(options: Options, profile: Profile) -> float | None:
    """Return the minutes without any worker after which a search ends; None for no end, as queues may take days."""
    return options.wait if options.wait is not None else None if isinstance(profile, Site) else _WAIT_MINUTES


def _compare(
    run: Run, client: Client, options: Options, wait_minutes: float | None, progress: LivePage | None = None
) -> None:
    if any(result.succeeded for _, result in run.evaluations):
        compare(
            run, client, factor=options.retrain, finalists=options.finalists, limits=options.limits,
            wait_minutes=wait_minutes, progress=progress,
        )  # fmt: skip


@contextmanager
def _told_at_ctrl_c(path: Path, typed: Sequence[str], is_supervised: bool = False) -> Iterator[None]:
    """If Ctrl-C or a signal ends a search, show its table, write its report, and say which command resumes it."""
    try:
        yield
    except KeyboardInterrupt as end:
        with suppress(MenndlError):  # there is no run yet
            if not is_supervised and any(True for _ in Run(path).evaluations):
                say("")
                report(Run(path))
                say_at_end(f"{stopped_by(end)}; {_to_resume(path, typed)}")
        raise


def _to_resume(path: Path, typed: Sequence[str]) -> str:
    """Say which command resumes a search."""
    own = ["menndl", "resume", str(path)] if _is_menndl(typed) else ["python", *typed]
    return f"to resume: {printable(shlex.join(own), one_line=True)}"


def _conclude(run: Run, stopped: str | None, typed: Sequence[str]) -> int:
    """Write the report, print the summary and return the exit code."""
    if run.islands:
        run.write_snapshot()  # each search has written its own
    say("")
    report(run, has_headline=stopped is not None)
    if stopped is not None:
        say(f"{stopped}; {_to_resume(run.path, typed)}")
        return ExitCode.STOPPED
    beside = line_beside(run)
    if beside is not None:
        say(beside)
    missing = shortfall(run)
    if missing is not None:
        say(printable(missing, one_line=True))
    say(f"conclusion: {headline(run)}")
    return ExitCode.SUCCESS if (run.path / "best.keras").exists() else ExitCode.NO_NETWORK


def _detach(own: Path, options: Options, typed: Sequence[str]) -> int:
    """Submit the same command, without ``--detach``, as a batch job; with islands, one job for each."""
    if options.islands is None:
        numbers = [detach(own, options.cluster, _again(typed))]
    else:
        numbers = []
        each = island_resources(read_profile(options.cluster), options.workers, options.islands, is_detached=True)
        for island, given in enumerate(each):
            words = _again(typed, "--island", str(island), *given.words)
            numbers.append(detach(folder_of(options.run, island), options.cluster, words))
    who = f"job {numbers[0]} searches" if len(numbers) == 1 else f"jobs {', '.join(numbers)} search"
    say(f"{who} on; progress: menndl status {options.run}; to end: menndl stop {options.run}")
    return 0


def _again(typed: Sequence[str], *more: str) -> list[str]:
    """Return the command line for a driver: as typed, without ``--detach`` and ``--islands``."""
    program = ["-m", "menndl_dask.cli"] if _is_menndl(typed) else [str(Path(typed[0]).resolve())]
    words = [word for word in typed[1:] if word != "--detach" and not word.startswith("--islands=")]
    if "--islands" in words:
        place = words.index("--islands")
        del words[place : place + 2]
    return [sys.executable, *program, *words, *more]


def report(run: Run, output: Path | None = None, *, has_headline: bool = True) -> None:
    """Print the table of a run, with its headline if wanted, and write its report, by default in the run directory."""
    with reading(run.path, RunError):
        found = findings(run, has_headline=has_headline)
    say(*found)
    say(f"report: {write_report(run, output)}")


def compare(
    run: Run, client: Client, *, factor: float, finalists: int, limits: Limits, problem: Problem | None = None,
    wait_minutes: float | None = None, progress: Progress | None = None,
) -> None:  # fmt: skip
    """Retrain the best networks of a run and the standard one, record the results, and save ``best.keras``.

    Networks that the run has already compared are not trained again.

    Parameters
    ----------
    run
        A run in which a network has succeeded.
    client
        Dask client of the workers.
    factor
        Budget of the retraining, in multiples of the search's budget; 0 keeps the best network as trained, and measures
        it on the test split.
    finalists
        Number of networks to retrain.
    limits
        Limits of a training in the search; the time limit is multiplied by `factor` if that is larger than 1.
    problem
        By default that of the run.
    wait_minutes
        Minutes without any worker after which this ends; None for no end.
    progress
        Shows the progress; by default a line on the standard error, or a bar in a notebook.

    Raises
    ------
    RunError
        If no network has succeeded, the run is not on a data set, the scheduler is lost or no worker comes.
    """
    best, problem, directory = run.best(), problem or run.problem, run.path.resolve()
    if problem is None:
        raise RunError(f"{run.path}: expected a run on a data set, got one with an `evaluate` of its own")
    with reading(run.path, RunError):
        chosen = comparison.finalists(run.evaluations, problem, finalists)
        if factor == 0:  # what becomes best.keras, if it was saved
            chosen = [(best.individual, best.result)] if (best.path / "network.keras").is_file() else []
        planned = comparison.plan(problem, chosen, factor)
    done = {(c.individual.id, c.factor): c for c in run.comparisons if c.result.succeeded}
    missing = [c for c in planned if (c.individual.id, c.factor) not in done]
    if missing:
        doing = "retraining for comparison" if factor else "measuring on the test split"
        say(f"{doing}: {', '.join(c.name for c in missing)}")
    let_workers_find(client, {*problem.code, *(k for c in missing for k in c.individual.genome.kinds_of_users)})
    shown = progress or usual_progress()
    for compared in comparison.train(
        client, problem, missing, limits, directory, wait_minutes=wait_minutes, progress=shown
    ):
        run.compare(compared)
        score = f"{metric_title(problem.metric_name)} {fitness_text(compared.result.fitness)}"
        say(f"  {compared.name}: {compared.result.failure or score}")
    # also the standard network, where the search has found no better one
    first = fittest(comparison.within_limits((c for c in run.alike if c.factor == factor), problem))
    source = best.path / "network.keras" if first is None else comparison.trained_path(directory, first)
    if source.is_file():
        keep_best(source, directory)
        say(f"best.keras: {f'network {best.individual.id}' if first is None else first.name}, by the validation split")
    keep_simple_scores(directory, problem)  # last: what was trained is saved before


def compare_with(
    run: Run, client: Client, others: Sequence[tuple[str, Individual]], *, factor: float | Sequence[float],
    finalists: int, seeds: int, limits: Limits, problem: Problem, random: SearchSpace | None = None,
    wait_minutes: float | None = None, evaluate: Evaluate = train_and_measure, measure: Evaluate = inference.measure,
) -> None:  # fmt: skip
    """Train the best networks of a run and others with several seeds and equal budgets, and record the results.

    What has been trained before is not trained again. After all trainings the predictions of each network are measured
    alone, and again where other processes had disturbed an earlier measurement.

    Parameters
    ----------
    run
        A run in which a network has succeeded.
    client
        Dask client of the workers.
    others
        Further networks, with the names for the report.
    factor, finalists
        Budgets of the trainings, in multiples of the search's, and the number of networks of a search.
    seeds
        Number of trainings of each network with each budget.
    limits
        Limits of a training in the search.
    problem
        That of the run.
    random
        If given, random networks of this space are evaluated for as long as the run evaluated its own, and the best of
        them take part. They are kept in the folder ``contenders/random`` of the run.
    wait_minutes
        Minutes without any worker after which this ends; None for no end.
    evaluate, measure
        Trains a network and scores it; measures the latency and the memory of its predictions.

    Raises
    ------
    RunError
        If no network has succeeded, the scheduler is lost or no worker comes.
    """
    run.best()  # there is one
    directory = run.path.resolve()
    own = comparison.finalists(run.evaluations, problem, finalists)
    named = [(f"network {individual.id}", individual) for individual, _ in own] + list(others)
    if random is not None:
        drawn = _search_at_random(run, client, random, limits, problem, wait_minutes, evaluate)
        best = comparison.finalists(drawn.evaluations, problem, finalists)
        named += [(f"random network {individual.id}", individual) for individual, _ in best]
    each = range(problem.seed, problem.seed + seeds)
    factors = sorted({float(f) for f in ([factor] if isinstance(factor, (int, float)) else factor)})
    planned = [c for f in factors for c in comparison.contenders(named, f, each, run.contenders)]
    say(f"trainings to compare: {len(planned)}; {counted(seeds, 'seed')} of each network")
    line = usual_progress()
    for compared in comparison.train(
        client, problem, planned, limits, directory, evaluate, wait_minutes, progress=line
    ):
        run.compare(compared)
        score = f"{metric_title(problem.metric_name)} {fitness_text(compared.result.fitness)}"
        budget = f", budget × {compared.factor:g}" if len(factors) > 1 else ""
        say(f"  {compared.name}, seed {compared.seed}{budget}: {compared.result.failure or score}")
    keep_simple_scores(directory, problem)
    _measure_alone(run, client, problem, limits, measure, wait_minutes)


def _measure_alone(
    run: Run, client: Client, problem: Problem, limits: Limits, measure: Evaluate, wait_minutes: float | None
) -> None:
    """Measure the predictions of each contender, one after the other: nothing else runs on the workers."""
    known = {key for key, costs in run.measured.items() if costs.get("busy_share", 0.0) <= inference.BUSY}
    left = {c.individual.genome.key: replace(c, factor=1.0, seed=0) for c in run.contenders if c.result.succeeded}
    left = {key: compared for key, compared in left.items() if key not in known}
    if left:
        say(f"measuring the predictions of {counted(len(left), 'network')}, one at a time")
    for each in left.values():
        directory = run.path.resolve()
        for done in comparison.train(client, problem, [each], limits, directory, measure, wait_minutes):
            if done.result.succeeded:
                run.measure(done.individual, done.result.costs)
            else:
                say(f"  {done.name} could not be measured: {done.result.message}")


def _search_at_random(
    run: Run, client: Client, space: SearchSpace, limits: Limits, problem: Problem, wait_minutes: float | None,
    evaluate: Evaluate,
) -> Run:  # fmt: skip
    """Evaluate random networks for as long as a run has evaluated its own, and return their run."""
    seconds = sum(result.times.get("total", 0.0) for _, result in run.evaluations)
    say(f"random search: {duration(seconds)} of a worker, as long as the evaluations of the search took")
    folder, evolution = run.path / CONTENDERS / "random", RandomSearch(space, problem.seed, seconds)
    search = Search(
        problem, space, folder, evolution=evolution, seed=problem.seed, limits=limits, evaluate=evaluate
    )
    return search.run(client, hours=_ENDLESS, wait_minutes=wait_minutes)


def keep_best(source: Path, directory: Path) -> None:
    """Copy a trained network of a run to ``best.keras``."""
    target = directory / "best.keras"
    try:
        with (
            os.fdopen(files.open_regular(source, root=directory), "rb") as trained,
            files.replacing(target) as partial,
            os.fdopen(files.create(partial), "wb") as copy,
        ):
            shutil.copyfileobj(trained, copy)
    except OSError as error:
        raise RunError(f"{target}: cannot be copied from {source}: {error.strerror}") from error


def _settings(typed: Sequence[str], problem: Problem, space: SearchSpace, options: Options) -> dict[str, Any]:
    """Return the command line in words and as a list, signed, and the plan, to be recorded in the run."""
    program = [] if not typed else ["menndl"] if _is_menndl(typed) else ["python", typed[0]]
    plan = {} if options.plan is None else {"plan": options.plan.to_dict()}
    code = {*own_names(problem, space), *own_code.allowed()} - {own_code.ALL}
    signed = Signed.of(typed[1:], problem.data, profile_file(options.cluster), code)
    if not signed.signature:
        say(f"note: the run is not signed as yours: {own_key()[1]}; menndl resume will ask you to type its command")
    words = {"command": shlex.join([*program, *typed[1:]]), "arguments": list(typed[1:])}
    return {**words, "signed": signed.to_dict(), **plan}


def _is_menndl(typed: Sequence[str]) -> bool:
    path = Path(typed[0])
    modules = (("menndl_dask", "__main__.py"), ("menndl_dask", "cli", "__main__.py"))
    return path.name == "menndl" or any(path.parts[-len(module) :] == module for module in modules)


def _describe(problem: Problem) -> str:
    facts = problem.facts
    what = f"{facts.outputs} values" if problem.task == "regression" else f"{facts.outputs} classes"
    counts = ", ".join(f"{n} {split}" for n, split in zip(facts.samples, ("train", "validation", "test"), strict=True))
    return (
        f"{problem.data}: {problem.task} of {problem.seen}, {what}; {counts}; "
        f"fitness: {metric_title(problem.metric_name)}"
    )
