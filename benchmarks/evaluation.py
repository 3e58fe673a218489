"""How many networks an hour one worker trains: our evaluation beside what most people would write.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py digits stem --networks 12 --epochs 4
    python benchmarks/evaluation.py digits --networks 32 --only ours verdicts one
    python benchmarks/evaluation.py --memory 300

The same random networks, samples, batches, epochs and threads, on one core, in one run, in turns, network by network:

ours              `menndl_dask.evaluate`, without early verdicts
ours, verdicts    the same with them, as a search does by default; the rungs compare once 12 networks have come by
fresh process     a new Python for each network, then Keras's `fit`
one process       `fit` again and again in one process, with `clear_session` in between
KerasTuner        its random search over the same networks, where it is installed

`fit` looks at the validation split after each epoch, and so do we. Start-up counts for all, once for us, whose trainer
serves both kinds of turns; latency, which only we measure, counts too. Data: digits of 28 × 28 pixels (scikit-learn's,
enlarged), simulated micrographs of 64 × 64 (STEM), and Landsat 8 chips where `MENNDL_CLOUDS_DATA` names the file of
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil
import xarray as xr
from sklearn.datasets import load_digits

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parent / "workflows"))

from clouds import write_chips  # noqa: E402
from stem_material import Graphene  # noqa: E402
from stem_simulation import write_images  # noqa: E402

from menndl_dask import Budget, Individual, Limits, Problem, SearchSpace, evaluate, open_problem  # noqa: E402
from menndl_dask import evaluation as ours  # noqa: E402
from menndl_dask.rung import Rungs  # noqa: E402
from menndl_dask.staging import stage  # noqa: E402

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
        Trains the network of a number; returns its fitness and the seconds that were training.
    """

    name: str
    train: Callable[[int], tuple[float, float]]
    seconds: float = 0.0
    training: float = 0.0
    fitness: list[float] = field(default_factory=list)

    def turn(self, number: int) -> None:
        """Train one network, by the clock."""
        started = time.perf_counter()
        reached, training = self.train(number)
        self.seconds += time.perf_counter() - started
        self.training += training
        self.fitness.append(reached)

    def row(self, reference: float) -> list[str]:
        """Return it as a row of the table, with the ratio of its rate to a reference's."""
        rate = 3600.0 * len(self.fitness) / self.seconds
        share = f"{100 * self.training / self.seconds:.0f} %" if self.training else ""
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
    path = write_chips(Path(os.environ[_CLOUDS]), folder / "clouds.zarr", 64)
    return open_problem(path, task="segmentation", metric="accuracy", class_weight="none", budget=budget)


# the rate stays, as that of `fit` does: with the same training everybody should come to the same fitness
_DATA: dict[str, tuple[Callable[[Path, Budget], Problem], Budget]] = {
    "digits": (digits, Budget(epochs=4, batch_size=32, schedule="constant")),
    "stem": (stem, Budget(epochs=5, batch_size=8, learning_rate=3e-3, schedule="constant")),
    "clouds": (clouds, Budget(epochs=3, batch_size=16, schedule="constant")),
}
_NAMES = ("ours", "verdicts", "one", "fresh", "tuner")
_FLOPS = {"classification": 3e6, "segmentation": 60e6}  # forward, at most: networks that suit each on one core


def space_of(problem: Problem) -> SearchSpace:
    """Return a space of small networks."""
    return SearchSpace.image(problem, max_parameters=400_000, max_flops=_FLOPS[problem.task])


def drawn(problem: Problem, number: int) -> list[Individual]:
    """Return random networks."""
    rng, space = np.random.default_rng(0), space_of(problem)
    return [Individual(i, space.sample(rng), (), "random") for i in range(number)]


def of_ours(problem: Problem, networks: list[Individual], *, verdicts: bool) -> Callable[[int], tuple[float, float]]:
    """Return what evaluates with this package, in this process and its trainer."""
    of = replace(problem, budget=replace(problem.budget, early_verdict=verdicts))
    rungs = Rungs(of.budget)

    def train(number: int) -> tuple[float, float]:
        result = evaluate(networks[number], of, _LIMITS, bars=rungs.bars() if verdicts else ())
        assert result.failure in (None, "no_learning", "hopeless"), result.message
        rungs.tell(result)
        reached = result.metrics["fitness"] if result.fitness is None else result.fitness
        return reached, result.times["train"]

    return train


class Plain:
    """A process with plain Keras, which trains the networks that it is asked for."""

    def __init__(self, asked: Path, data: Path, session: str = "one") -> None:
        command = [sys.executable, str(_HERE / "plain_fit.py"), str(asked), str(data), session]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment,
        )  # fmt: skip

    def train(self, number: int) -> tuple[float, float]:
        """Train one network."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> tuple[float, float]:
        """Wait for what comes of a network."""
        assert self._process.stdout is not None
        found = json.loads(self._process.stdout.readline())
        return found["fitness"], found["fit"]

    def close(self) -> None:
        """End the process."""
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()


def contest(problem: Problem, number: int, folder: Path, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield a row for each of some contestants; ratios are to one long-lived process with plain `fit`.

    They take turns, network by network, so that a machine that others use treats them alike.
    """
    networks = drawn(problem, number)
    asked = folder / "networks.json"
    genomes = [individual.genome.to_dict() for individual in networks]
    asked.write_text(json.dumps({"problem": problem.to_dict(), "networks": genomes}))
    data = stage(problem, folder / "staged")
    processes: list[Plain] = []

    def kept(number: int) -> tuple[float, float]:
        if not processes:
            processes.append(Plain(asked, data))
        return processes[0].train(number)

    def fresh(number: int) -> tuple[float, float]:
        process = Plain(asked, data)
        found = process.train(number)
        process.close()
        return found

    ours.close()
    contestants = {
        "ours": Contestant("**ours**, no verdicts", of_ours(problem, networks, verdicts=False)),
        "verdicts": Contestant("**ours**, early verdicts", of_ours(problem, networks, verdicts=True)),
        "one": Contestant("one process, `fit`", kept),
        "fresh": Contestant("a fresh process each, `fit`", fresh),
    }
    chosen = [contestant for name, contestant in contestants.items() if name in (*names, "one")]
    for turn in range(number):
        for contestant in chosen:
            contestant.turn(turn)
    processes[0].close()
    reference = contestants["one"].seconds
    yield from (contestant.row(reference) for contestant in chosen)
    if "tuner" in names and importlib.util.find_spec("keras_tuner"):
        yield tuned(number, asked, data).row(reference)


def tuned(number: int, asked: Path, data: Path) -> Contestant:
    """Return KerasTuner, after its turn: it takes them all at once."""
    process = Plain(asked, data, "tuner")
    tuner = Contestant("KerasTuner, random search", lambda _: process.answer())
    for turn in range(number):
        tuner.turn(turn)
    process.close()
    return tuner


def memory(number: int, folder: Path) -> Iterator[list[str]]:
    """Yield what worker and trainer hold after so many different networks."""
    problem = digits(folder, Budget(steps=30, batch_size=32, early_verdict=False))
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
    parser.add_argument("--memory", type=int, metavar="N", help="evaluate so many and print memory, nothing else")
    given = parser.parse_args()
    if "clouds" in given.data and _CLOUDS not in os.environ:
        parser.error(f"clouds: {_CLOUDS} must name the patches that workflows/clouds.py describes")
    os.environ.update(OMP_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
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
            show(f"{title}, {given.networks} networks", head, contest(problem, given.networks, place, given.only))
    ours.close()
    load = os.getloadavg()[2]
    sys.stdout.write(f"\nPython {platform.python_version()}, one thread on {os.cpu_count()} cores, load {load:.1f}\n")


if __name__ == "__main__":
    main()
