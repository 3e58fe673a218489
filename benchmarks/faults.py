"""Searches under random faults, also with LEAP and Optuna under the same ones: what is lost, repeated, or hangs.

    python -m benchmarks.faults --seed 17

Three parts, which `--only` chooses among:

* `ours`: our searches under all kinds of faults, the soak of `make faults`;
* `others`: ours, LEAP's and Optuna's with a scheduler and workers beside the driver, under kills and stops of the same
  kinds, with the same evaluation. LEAP and Optuna are left out if they are not installed:
  ``pip install leap-ec optuna optuna-integration``;
* `resume`: the time until a killed driver of ours carries on, with 10,000 results in its journal.

The figures are kept in ``faults.json``, and the page is written from them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import queue
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started as a file too
from benchmarks import instant
from menndl_dask.genome.individual import Individual
from menndl_dask.problem import Limits
from menndl_dask.run.recorder import Recorder
from menndl_dask.run.settings import frozen_settings
from menndl_dask.space.space import SearchSpace
from tests.faults import soak
from tests.faults.checker import events
from tests.faults.scene import ROOT, Scene, end_on_signals
from tests.problems import problem

_RECORDED = 10_000
_RIVAL_EVALUATIONS = 250
_KINDS = (
    "driver killed", "driver stopped, continued", "worker killed", "all workers killed", "worker stopped, continued",
    "nanny killed", "worker left, another joined", "scheduler killed", "scheduler stopped, continued",
)  # fmt: skip


@dataclass(slots=True)
class Compared(soak.Tally):
    """What is counted of ours and of others alike."""

    name: str = ""
    starts: int = 0  # of drivers
    evaluated: int = 0  # evaluations that ended, those of results that were lost again too
    beyond: int = 0  # results beyond the number that was asked for
    unfinished: int = 0  # searches that did not come to their end in four more starts


class ComparedTurn(soak.Turn):
    """A search by one of the packages, with a scheduler and workers beside it."""

    ends = range(-64, 256)

    def __init__(self, scene: Contender, rng: random.Random, tally: Compared) -> None:
        super().__init__(scene, rng, tally)
        self.kinds = {kind: strike for kind, strike in {**soak.ANYWHERE, **soak.BESIDE}.items() if kind in _KINDS}

    def tally_up(self) -> None:
        """Count what the package has kept."""
        scene, tally = self.scene, self.tally
        asked, kept = scene.asked_and_kept()
        tally.searches += 1
        tally.starts += scene.starts
        tally.asked += asked
        tally.recorded += len(kept)
        tally.lost += asked - len(set(kept))
        tally.duplicated += len(kept) - len(set(kept))
        tally.beyond += max(0, len(set(kept)) - scene.evaluations)
        tally.unfinished += len(set(kept)) < scene.evaluations
        tally.evaluated += sum(mark.what == "ended" for mark in scene.marks())


class Contender(Scene):
    """A search of ours with a scheduler and workers beside it."""

    name = "menndl_dask"
    distribution = "menndl_dask"
    starts = 0

    def start_driver(self, name: str = "driver", **settings: object) -> subprocess.Popen[bytes]:
        """Start a driver, and count it."""
        self.starts += 1
        return super().start_driver(name, **settings)

    def told(self) -> int:
        """Return how many different networks have been evaluated; all packages know that of the marks."""
        return len({mark.id for mark in self.marks() if mark.what == "ended"})

    def asked_and_kept(self) -> tuple[int, list[int]]:
        """Return how many networks were proposed, and those whose results the search has in the end."""
        found = events((self.run / "journal.jsonl").read_bytes())
        return sum(e["event"] == "asked" for e in found), [e["id"] for e in found if e["event"] == "told"]


class Leap(Contender):
    """LEAP's asynchronous steady-state algorithm."""

    name, distribution, program = "LEAP", "leap-ec", "benchmarks.faults_leap"

    def told(self) -> int:
        """Return how many results the last start has."""
        files = sorted(self.run.glob("results-*"))
        return len(files[-1].read_text().splitlines()) if files else 0

    def asked_and_kept(self) -> tuple[int, list[int]]:
        """Count the individuals that came back, whichever start proposed them; the last start knows its own."""
        files = [
            [int(line.split()[0]) for line in file.read_text().splitlines()] for file in sorted(self.run.iterdir())
        ]
        return len({number for file in files for number in file}), files[-1]


class Optuna(Contender):
    """Optuna on Dask."""

    name, distribution, program = "Optuna", "optuna", "benchmarks.faults_optuna"

    def asked_and_kept(self) -> tuple[int, list[int]]:
        """Return the number of trials, and those that are complete."""
        import optuna

        from benchmarks.faults_optuna import url

        trials = optuna.load_study(study_name="faults", storage=url(self.run)).get_trials(deepcopy=False)
        return len(trials), [trial.number for trial in trials if trial.state.name == "COMPLETE"]


def compare(contender: type[Contender], folder: Path, seed: int, faults: int) -> Compared:
    """Put a package through so many faults."""
    rng, tally = random.Random(seed), Compared(name=contender.name)
    while len(tally.faults) < faults:
        own = folder / contender.name / str(tally.searches)
        scene = contender(
            own, evaluations=_RIVAL_EVALUATIONS, seconds=0.25, workers=3, is_local=False, settings={"answer_s": 10.0}
        )
        with scene:
            ComparedTurn(scene, rng, tally).run(faults - len(tally.faults))
        say(f"{contender.name}: {soak.line(tally)}")
    return tally


def resumes(folder: Path, times: int) -> list[float]:
    """Return the seconds from a kill of the driver until all workers work again, of each kill."""
    made_up = problem()
    space, rng = SearchSpace.image(made_up), np.random.default_rng(0)
    limits = Limits(seconds=3600.0)
    seconds = []
    with Scene(folder / "resumes", evaluations=_RECORDED + 100_000, seconds=1.0, settings={"images": True}) as scene:
        with Recorder(scene.run) as recorder:
            recorder.freeze(frozen_settings(made_up, space, 0, limits, {}))
            individuals = [Individual(number, space.sample(rng)) for number in range(_RECORDED)]
            recorder.asked(individuals)
            recorder.completed([(one, instant.evaluate(one, made_up, limits, seed=0)) for one in individuals])
        scene.start_driver()
        scene.wait_for_crew(0.0)
        for _ in range(times):
            scene.driver.kill()
            killed = time.monotonic()
            scene.start_driver()
            seconds.append(scene.wait_for_crew(killed))
            say(
                f"a driver with {_RECORDED} results carried on after {seconds[-1]:.1f} s; load {os.getloadavg()[0]:.1f}"
            )
    return seconds


def comparison_table(tallies: Sequence[Compared]) -> list[str]:
    """Return a table of the packages in Markdown."""
    rows = [
        "| | faults | asked | recorded | lost | duplicated | beyond the budget | hung | orphans "
        "| evaluations made, of the budget | restored, p50 | p95 | longest |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for tally in tallies:
        made = 100 * tally.evaluated / (tally.searches * _RIVAL_EVALUATIONS)
        restored = soak.quantiles(tally.restored())
        rows.append(
            f"| {tally.name} | {len(tally.faults)} | {tally.asked} | {tally.recorded} | {tally.lost} "
            f"| {tally.duplicated} | {tally.beyond} | {tally.hung} | {tally.orphans} | {made:.0f} % | {restored} |"
        )
    return rows


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


# --- the page ---------------------------------------------------------------------------------------------------------


def page(parts: dict[str, Any]) -> str:
    """Return the page with all figures that there are."""
    text = [_HEAD]
    if "ours" in parts:
        runs = [_tally(soak.Tally, run["tally"]) for run in parts["ours"]["runs"]]
        tally = soak.merged(runs)
        text += ["", "## Ours, under all kinds of faults", "", f"**{soak.summary(tally)}**", ""]
        for run, counted in zip(parts["ours"]["runs"], runs, strict=True):
            blamed = f", blamed {counted.blamed}" if "blamed" in run["tally"] else ""
            text += [f"* Commit {run['commit']}: {soak.summary(counted)}{blamed}. {_conditions(run)}"]
        text += ["", *soak.kinds_table(tally), ""]
        trouble = "; ".join(tally.troubles) or "none"
        text += [f"Other trouble: {trouble}. A driver ends with -15 if SIGTERM comes before Python has started it."]
    if "others" in parts:
        tallies = [_tally(Compared, one) for one in parts["others"]["tallies"]]
        text += ["", "## Beside LEAP and Optuna", "", _conditions(parts["others"]), "", _COMPARED]
        text += ["", *comparison_table(tallies), "", *(f"* {tally.name}: {_troubles(tally)}" for tally in tallies)]
    if "resume" in parts:
        seconds = parts["resume"]["seconds"]
        text += ["", "## A killed driver with 10,000 results", "", _conditions(parts["resume"]), ""]
        text += ["After a kill the same command was typed at once."]
        text += [f"All workers were at work again after {_spread(seconds)} ({len(seconds)} kills)."]
        text += ["On a loaded machine the driver waits for a core: it takes six seconds of one."]
    return "\n".join(text) + "\n"


_HEAD = """# Searches under faults

Written by `python -m benchmarks.faults`. Evaluations sleep for a quarter of a second on average, and write a line
before and after, so that it is known what was evaluated. A few searches train real networks. Journals are read by a
checker that shares no code with the package.

* **lost**: networks that were asked for and have no result in the end, or had one in the journal before and no longer.
* **duplicated**: networks with two results in the journal. **repeated**: evaluated again although the journal had the
  result.
* **blamed**: networks that failed though only their worker, driver or scheduler was struck.
* **hung**: no result within three minutes after a fault. **orphans**: processes that live 30 s after their driver.
* **restored**: seconds from a kill, or from the end of a stop, until every worker had begun another evaluation. A
  killed driver is started again by the same command at once. A killed nanny is replaced at once, as by a batch system.
  The time is not measured where the next fault came before (every fifth, at random) or the search ended."""

_COMPARED = """Each package has the same scheduler and three workers of Dask beside its driver, the same evaluation, and
faults from the same random sequence. The same script starts all drivers, again after each kill and after each end with
an error. *menndl_dask* carries on from its journal. *Optuna* is used as its documentation of `DaskStorage` says, with
the study in an SQLite file, which each start loads, and one trial a task. Trials that ran when their worker or driver
died stay "running", and each start adds trials for those that are missing. *LEAP*'s asynchronous steady-state algorithm
documents no way to carry on: each start begins anew, and what came back to an earlier one is lost to the search, though
a probe has written it into a file."""


def _conditions(part: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in part["versions"].items())
    return (
        f"{part['date']}, two cores of a virtual machine, Python {platform.python_version()}, {versions}, "
        f"`--seed {part['seed']}`. Load of the machine (1 minute): {part['load'][0]:.1f} at the start, "
        f"{part['load'][1]:.1f} at the end."
    )


def _troubles(tally: Compared) -> str:
    counts = Counter(f"{fault.kind}: {fault.trouble}" for fault in tally.faults if fault.trouble)
    words = [f"{text} ({count} times)" if count > 1 else text for text, count in counts.items()]
    if tally.unfinished:
        words.append(f"{tally.unfinished} of {tally.searches} searches did not reach their number of evaluations")
    return "; ".join(words) or "no trouble"


def _spread(seconds: Sequence[float]) -> str:
    return f"{np.median(seconds):.1f} s (median; {min(seconds):.1f} to {max(seconds):.1f} s)"


def _tally(kind: type[Any], values: dict[str, Any]) -> Any:
    return kind(**values | {"faults": [soak.Faulted(**fault) for fault in values["faults"]]})


# --- run --------------------------------------------------------------------------------------------------------------


def measure(part: str, given: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the figures of a part, again after each search."""
    names = ["distributed"] + (["leap-ec", "optuna"] if part == "others" else [])
    versions = {name: metadata.version(name) for name in names if find_spec(name.replace("-", "_"))}
    load = os.getloadavg()[0]
    head = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(head, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    def figures(**values: Any) -> dict[str, Any]:
        now = {
            "commit": commit,
            "date": time.strftime("%-d %B %Y"),
            "seed": given.seed,
            "load": (load, os.getloadavg()[0]),
        }
        return now | {"versions": versions} | values

    if part == "ours":
        before = json.loads(given.json.read_text()) if given.again and given.json.exists() else {}
        earlier = before.get("ours", {}).get("runs", [])
        for tally in in_parallel(folder, given):
            say(soak.line(tally))
            yield {"runs": [*earlier, figures(tally=asdict(tally))]}
    elif part == "resume":
        yield figures(seconds=resumes(folder, given.resumes))
    else:
        installed = [one for one in CONTENDERS if find_spec(one.distribution.replace("-", "_")) is not None]
        # at the same time, so that all meet the same load
        with ThreadPoolExecutor(len(installed)) as pool:
            tallies = list(pool.map(lambda one: compare(one, folder, given.seed, given.other_faults), installed))
        yield figures(tallies=[asdict(tally) for tally in tallies])


def in_parallel(folder: Path, given: argparse.Namespace) -> Iterator[soak.Tally]:
    """Yield what was counted, after each search, by soaks at the same time, each with a seed of its own."""
    tallies, count = {}, given.parallel
    found: queue.Queue[int] = queue.Queue()

    def one(seed: int) -> None:
        for tally in soak.soak(folder / str(seed), seed, given.faults // count, given.evaluations // count):
            tallies[seed] = tally
            found.put(seed)
        found.put(-1)

    seeds = range(given.seed, given.seed + count)
    with ThreadPoolExecutor(count) as pool:
        soaks = [pool.submit(one, seed) for seed in seeds]
        ended = 0
        while ended < count and not any(done.done() and done.exception() for done in soaks):
            try:
                ended += found.get(timeout=1.0) < 0
            except queue.Empty:
                continue
            yield soak.merged(tallies.values())
        for done in soaks:
            done.result()


CONTENDERS: tuple[type[Contender], ...] = (Contender, Leap, Optuna)


def main() -> None:
    """Measure, and write the page after each search."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--parallel", type=int, default=1, help="searches of ours at the same time, each with its seed")
    parser.add_argument("--again", action="store_true", help="add to the figures of ours that the file has")
    parser.add_argument("--other-faults", type=int, default=40)
    parser.add_argument("--resumes", type=int, default=5)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--json", type=Path, default=Path("faults.json"))
    given = parser.parse_args()
    end_on_signals()
    for part in given.only:
        with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
            for figures in measure(part, given, Path(folder)):
                kept = json.loads(given.json.read_text()) if given.json.exists() else {}
                given.json.write_text(json.dumps(kept | {part: figures}))
    given.out.write_text(page(json.loads(given.json.read_text())))


PARTS = ("ours", "others", "resume")

if __name__ == "__main__":
    main()
