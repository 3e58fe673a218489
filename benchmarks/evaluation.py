"""How many networks an hour one worker trains: our evaluation beside what most people would write.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py digits stem --networks 12 --epochs 4
    python benchmarks/evaluation.py digits --networks 32 --only ours stopping one
    python benchmarks/evaluation.py digits --machine --networks 32 --only local stopping one single
    python benchmarks/evaluation.py --memory 300

The same random networks, samples, batches and epochs, in one run, in turns. By default on one core, everybody with one
thread, network by network:

ours        `menndl_dask.evaluate`, without early stopping
stopping    the same with it, as a search does by default; the rungs compare once 12 networks have come by
fresh       a new Python for each network, then Keras's `fit`
one         `fit` again and again in one process, with `clear_session` in between
tuner       KerasTuner's random search over the same networks, where it is installed

With `--machine` everybody has the whole machine, and a turn is of several networks, which begin and end within it, so
that workers rest at its end:

local       our evaluation on the workers that a search has by default: one for each core, a thread each
stopping    the same with early stopping
fresh, one, tuner    as above, with as many threads as TensorFlow takes by itself
single      as `one`, with one thread; ratios are to the faster of the two

`fit` looks at the validation split after each epoch, and so do we. Start-up counts for all, that of Dask's workers too:
on one core once for us, whose trainer serves both kinds of turns. Latency, which only we measure, counts as well. Data:
digits of 28 × 28 pixels (scikit-learn's, enlarged), simulated micrographs of 64 × 64 (STEM), and Landsat 8 chips where
`MENNDL_CLOUDS_DATA` names the file of
workflows/clouds.py. `--memory N` instead evaluates N different networks and prints what worker and trainer hold.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil
import xarray as xr
from sklearn.datasets import load_digits

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parent / "workflows"))

from clouds import Cut, chips_of  # noqa: E402
from crew import Crew, Outcome, outcome  # noqa: E402
from stem_material import Graphene  # noqa: E402
from stem_simulation import write_images  # noqa: E402

from menndl_dask import (  # noqa: E402
    Budget,
    Individual,
    Limits,
    Problem,
    SearchSpace,
    evaluate,
    open_problem,
)
from menndl_dask.data.staging import stage  # noqa: E402
from menndl_dask.environment import TRAINING_THREADS  # noqa: E402
from menndl_dask.evaluation import trainer_pool  # noqa: E402
from menndl_dask.search.rungs import PruningRules  # noqa: E402

_MIB = 2**20
_LIMITS = Limits(seconds=600.0, memory_bytes=6_000_000_000)
_CLOUDS = "MENNDL_CLOUDS_DATA"


@dataclass(slots=True)
class Contestant:
    """Somebody who trains networks, and how it went so far.

    Parameters
    ----------
    name
        In the table.
    train
        Trains the networks of some numbers; returns the fitness of each and the seconds that were training.
    workers
        How many it trains at once.
    """

    name: str
    train: Callable[[Sequence[int]], list[Outcome]]
    workers: int = 1
    seconds: float = 0.0
    training: float = 0.0
    fitness: list[float] = field(default_factory=list)

    def turn(self, numbers: Sequence[int]) -> None:
        """Train networks, by the clock."""
        started = time.perf_counter()
        found = self.train(numbers)
        self.seconds += time.perf_counter() - started
        self.training += sum(training for _, training in found)
        self.fitness += [reached for reached, _ in found]

    def row(self, reference: float) -> list[str]:
        """Return it as a row of the table, with the ratio of its rate to a reference's."""
        rate = 3600.0 * len(self.fitness) / self.seconds
        share = f"{100 * self.training / self.seconds / self.workers:.0f} %" if self.training else ""
        best, mean = (f"{value:.3f}" for value in (max(self.fitness), float(np.mean(self.fitness))))
        return [self.name, f"{rate:.0f}", f"{reference / self.seconds:.2f}", share, best, mean]


def digits(folder: Path, budget: Budget) -> Problem:
    """Return scikit-learn's digits, enlarged to 28 × 28 pixels."""
    found = load_digits()
    large = np.kron(found.images / 16.0, np.ones((3, 3)))  # 24 × 24
    images = np.pad(large, ((0, 0), (2, 2), (2, 2))).astype("float32")[..., np.newaxis]
    dataset = xr.Dataset({"image": (("sample", "y", "x", "channel"), images), "label": ("sample", found.target)})
    dataset.to_zarr(folder / "digits.zarr", consolidated=False)
    return open_problem(folder / "digits.zarr", task="classification", metric="accuracy", budget=budget)


def stem(folder: Path, budget: Budget) -> Problem:
    """Return simulated micrographs of 64 × 64 pixels."""
    path = write_images(folder / "stem.zarr", Graphene(), images=224, size=64, seed=0)
    return open_problem(path, task="segmentation", metric="accuracy", class_weight="none", budget=budget)


def clouds(folder: Path, budget: Budget) -> Problem:
    """Return Landsat 8 chips of 64 × 64 pixels."""
    path = chips_of([Path(os.environ[_CLOUDS])], folder / "clouds.zarr", Cut(chip=64))
    return open_problem(path, task="segmentation", metric="accuracy", class_weight="none", budget=budget)


# the rate stays, as that of `fit` does: with the same training everybody should come to the same fitness
_DATA: dict[str, tuple[Callable[[Path, Budget], Problem], Budget]] = {
    "digits": (digits, Budget(epochs=4, batch_size=32, schedule="constant")),
    "stem": (stem, Budget(epochs=5, batch_size=8, learning_rate=3e-3, schedule="constant")),
    "clouds": (clouds, Budget(epochs=3, batch_size=16, schedule="constant")),
}
_NAMES = ("ours", "local", "stopping", "one", "single", "fresh", "tuner")
_FLOPS = {"classification": 3e6, "segmentation": 60e6}  # forward, at most: networks that suit each on one core


def space_of(problem: Problem) -> SearchSpace:
    """Return a space of small networks."""
    return SearchSpace.image(problem, max_parameters=400_000, max_flops=_FLOPS[problem.task])


def drawn(problem: Problem, number: int) -> list[Individual]:
    """Return random networks."""
    rng, space = np.random.default_rng(0), space_of(problem)
    return [Individual(i, space.sample(rng), (), "random") for i in range(number)]


def with_early_stopping(problem: Problem, *, early_stopping: bool) -> Problem:
    """Return a problem with early stopping, or without."""
    return replace(problem, budget=replace(problem.budget, early_stopping=early_stopping))


def of_ours(
    problem: Problem, networks: list[Individual], *, early_stopping: bool
) -> Callable[[Sequence[int]], list[Outcome]]:
    """Return what evaluates with this package, in this process and its trainer."""
    of = with_early_stopping(problem, early_stopping=early_stopping)
    rungs = PruningRules(of.budget)

    def trained(number: int) -> Outcome:
        result = evaluate(networks[number], of, _LIMITS, thresholds=rungs.thresholds() if early_stopping else ())
        rungs.tell(result)
        return outcome(result)

    return lambda numbers: [trained(number) for number in numbers]


@dataclass(frozen=True, slots=True)
class Asked:
    """What processes with plain Keras are asked for: the file of the networks, and the staged samples."""

    networks: Path
    data: Path


class Plain:
    """A process with plain Keras, which trains the networks that it is asked for.

    Parameters
    ----------
    asked
        For which networks.
    threads
        Of TensorFlow; by default as many as it takes.
    session
        ``one`` or ``tuner``, see `plain_fit.py`.
    """

    def __init__(self, asked: Asked, threads: int | None, session: str = "one") -> None:
        command = [sys.executable, str(_HERE / "plain_fit.py"), str(asked.networks), str(asked.data), session]
        environment = {**os.environ, **of_threads(threads), "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment,
        )  # fmt: skip

    def train(self, numbers: Sequence[int]) -> list[Outcome]:
        """Train networks, one after the other."""
        assert self._process.stdin is not None
        found = []
        for number in numbers:
            self._process.stdin.write(f"{number}\n")
            self._process.stdin.flush()
            found.append(self.answer())
        return found

    def answer(self) -> Outcome:
        """Wait for what comes of a network."""
        assert self._process.stdout is not None
        found = json.loads(self._process.stdout.readline())
        return found["fitness"], found["fit"]

    def close(self) -> None:
        """End the process."""
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()


class Kept:
    """A process with plain Keras that is started with the first turn, and stays."""

    def __init__(self, asked: Asked, threads: int | None) -> None:
        self._asked, self._threads = asked, threads
        self._process: Plain | None = None

    def train(self, numbers: Sequence[int]) -> list[Outcome]:
        """Train networks, one after the other."""
        self._process = self._process or Plain(self._asked, self._threads)
        return self._process.train(numbers)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()


def of_threads(threads: int | None) -> Mapping[str, str]:
    """Return the variables that give a process so many threads; none where it is to take what it wants."""
    names = ("OMP_NUM_THREADS", TRAINING_THREADS, "TF_NUM_INTEROP_THREADS")
    return {} if threads is None else dict.fromkeys(names, str(threads))


def contest(
    problem: Problem, number: int, folder: Path, names: Sequence[str], together: int | None = None
) -> Iterator[list[str]]:
    """Yield a row for each of some contestants; ratios are to long-lived processes with plain `fit`, the fastest.

    They take turns, so that a machine that others use treats them alike.

    Parameters
    ----------
    problem, number
        What is trained, and how many networks.
    folder
        For files.
    names
        Of the contestants.
    together
        Networks in a turn, for which everybody has the whole machine; by default one by one, on one core.
    """
    machine = together is not None
    networks = drawn(problem, number)
    genomes = [individual.genome.to_dict() for individual in networks]
    asked = Asked(folder / "networks.json", stage(problem, folder / "staged"))
    asked.networks.write_text(json.dumps({"problem": problem.to_dict(), "networks": genomes}))
    trainer_pool.close()
    with ExitStack() as stack:
        fits = on_machine_fits(asked, stack) if machine else {"one": kept("one process, `fit`", asked, 1, stack)}
        own = on_machine(problem, networks, stack) if machine else on_a_core(problem, networks)
        contestants = {**own, **fits}

        def fresh(numbers: Sequence[int]) -> list[Outcome]:
            return [one for each in numbers for one in alone(asked, each, threads_of(fits))]

        contestants["fresh"] = Contestant("a fresh process each, `fit`", fresh)
        chosen = [contestant for name, contestant in contestants.items() if name in (*names, "one")]
        for first in range(0, number, together or 1):
            for contestant in chosen:
                contestant.turn(range(first, min(number, first + (together or 1))))
    reference = min(fit.seconds for fit in fits.values() if fit.fitness)
    yield from (contestant.row(reference) for contestant in chosen)
    if "tuner" in names and importlib.util.find_spec("keras_tuner"):
        yield tuned(number, asked, threads_of(fits)).row(reference)


def on_a_core(problem: Problem, networks: list[Individual]) -> dict[str, Contestant]:
    """Return ours where one network is trained at a time, with one thread."""
    return {
        "ours": Contestant("**ours**, no early stopping", of_ours(problem, networks, early_stopping=False)),
        "stopping": Contestant("**ours**, early stopping", of_ours(problem, networks, early_stopping=True)),
    }


def on_machine(problem: Problem, networks: list[Individual], stack: ExitStack) -> dict[str, Contestant]:
    """Return ours where all cores are free to use; a stack ends their workers."""
    cores = len(os.sched_getaffinity(0))

    def crew(*, early_stopping: bool) -> Callable[[Sequence[int]], list[Outcome]]:
        made = Crew(with_early_stopping(problem, early_stopping=early_stopping), networks, _LIMITS)
        stack.callback(made.close)
        return made.train

    return {
        "local": Contestant(f"**ours**, {cores} workers", crew(early_stopping=False), cores),
        "stopping": Contestant(f"**ours**, {cores} workers, early stopping", crew(early_stopping=True), cores),
    }


def on_machine_fits(asked: Asked, stack: ExitStack) -> dict[str, Contestant]:
    """Return `fit` in one process, with the threads that TensorFlow takes by itself and with one."""
    return {
        "one": kept("one process, `fit`", asked, None, stack),
        "single": kept("one process, `fit`, one thread", asked, 1, stack),
    }


def kept(name: str, asked: Asked, threads: int | None, stack: ExitStack) -> Contestant:
    """Return `fit` in one process, which a stack ends."""
    process = Kept(asked, threads)
    stack.callback(process.close)
    return Contestant(name, process.train)


def alone(asked: Asked, number: int, threads: int | None) -> list[Outcome]:
    """Train a network in a process of its own."""
    process = Plain(asked, threads)
    found = process.train([number])
    process.close()
    return found


def threads_of(fits: Mapping[str, Contestant]) -> int | None:
    """Return the threads with which `fit` has been the fastest so far; nothing: those that TensorFlow takes."""
    timed = [name for name, fit in fits.items() if fit.fitness]
    fastest = min(timed, key=lambda name: fits[name].seconds)
    return 1 if fastest == "single" or len(fits) == 1 else None


def tuned(number: int, asked: Asked, threads: int | None) -> Contestant:
    """Return KerasTuner, after its turn: it takes them all at once."""
    process = Plain(asked, threads, "tuner")
    tuner = Contestant("KerasTuner, random search", lambda numbers: [process.answer() for _ in numbers])
    tuner.turn(range(number))
    process.close()
    return tuner


def memory(number: int, folder: Path) -> Iterator[list[str]]:
    """Yield what worker and trainer hold after so many different networks."""
    problem = digits(folder, Budget(steps=30, batch_size=32, early_stopping=False))
    marks = sorted({1, number // 10, number // 2, number})
    this = psutil.Process()
    for done, individual in enumerate(drawn(problem, number), 1):
        result = evaluate(individual, problem, _LIMITS)
        assert result.succeeded, result.message
        if done in marks:
            held = sum(child.memory_info().rss for child in this.children(recursive=True))
            yield [str(done), f"{this.memory_info().rss / _MIB:.0f}", f"{held / _MIB:.0f}"]


def show(title: str, head: list[str], rows: Iterator[list[str]]) -> None:
    """Print a table in Markdown, line by line."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    sys.stdout.write(f"\n{title}\n\n| {' | '.join(head)} |\n| {' | '.join(rule)} |\n")
    for row in rows:
        sys.stdout.write(f"| {' | '.join(row)} |\n")
        sys.stdout.flush()


def main() -> None:
    """Measure and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", metavar="DATA", help=f"{', '.join(_DATA)} (default: those that are there)")
    parser.add_argument("--networks", type=int, default=16, metavar="N")
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of each data set's own number")
    parser.add_argument("--only", nargs="+", choices=_NAMES, default=_NAMES, help="these contestants (default: all)")
    parser.add_argument("--machine", action="store_true", help="all cores for everybody, not one thread")
    parser.add_argument("--together", type=int, default=32, metavar="N", help="networks in a turn with --machine")
    parser.add_argument("--memory", type=int, metavar="N", help="evaluate so many and print memory, nothing else")
    given = parser.parse_args()
    if "clouds" in given.data and _CLOUDS not in os.environ:
        parser.error(f"clouds: {_CLOUDS} must name the patches that workflows/clouds.py describes")
    if not given.machine:
        os.environ.update(of_threads(1))
    with tempfile.TemporaryDirectory() as folder:
        names = given.data or [name for name in _DATA if name != "clouds" or _CLOUDS in os.environ]
        if given.memory:
            show("Memory", ["networks", "worker MiB", "trainer MiB"], memory(given.memory, Path(folder)))
            names = []
        for name in names:
            make, budget = _DATA[name]
            place = Path(folder) / name
            place.mkdir()
            problem = make(place, replace(budget, epochs=given.epochs or budget.epochs))
            shape = "×".join(map(str, problem.facts.input_shapes[0]))
            title = f"{name}: {shape}, {problem.facts.samples[0]} samples, {problem.budget.epochs:g} epochs"
            head = ["", "networks/h", "ratio", "training", "best fitness", "mean fitness"]
            rows = contest(problem, given.networks, place, given.only, given.together if given.machine else None)
            show(f"{title}, {given.networks} networks", head, rows)
    trainer_pool.close()
    load = os.getloadavg()[2]
    who = "all" if given.machine else "one thread"
    sys.stdout.write(f"\nPython {platform.python_version()}, {who} on {os.cpu_count()} cores, load {load:.1f}\n")


if __name__ == "__main__":
    main()
