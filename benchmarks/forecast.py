"""CostForecast against actual: each shipped workflow with a tiny budget, forecast by short trainings, then run.

    python -m benchmarks.forecast --work runs/forecasts
    python -m benchmarks.forecast --work runs/forecasts --only digits stem --seeds 0 1
    python -m benchmarks.forecast --work runs/forecasts --options "clouds: scenes/ --chips 32"

A workflow first evaluates one network, so that its data and its settings are there. Then some of its networks are
trained for some seconds each, as ``menndl forecast`` does, and the workflow goes on at once: forecast and search have
about the same load. That forecast is of the other networks, and is compared with the time of the second start. Later
the search forecasts itself, from its first results; that is compared with all of its time. What has been run is not run
again.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started as a file too
from menndl_dask.cluster.profile import read_profile
from menndl_dask.performance.forecast import forecast_search
from menndl_dask.performance.simulation.plan import space_of
from menndl_dask.run.forecast.actual import actual
from menndl_dask.run.forecast.forecast import CostForecast
from menndl_dask.run.run import Run
from menndl_dask.text import duration

ROOT = Path(__file__).resolve().parents[1]
_WORKERS = 2
_FILE = "forecasts.jsonl"


@dataclass(frozen=True, slots=True)
class Workflow:
    """A script with options for a tiny budget."""

    script: str
    options: str
    evaluations: int


WORKFLOWS = {
    "digits": Workflow("digits.py", "--epochs 3", 10),
    "stem": Workflow("stem_defects.py", "--images 60 --size 32 --epochs 4 --score-frames 0", 10),
    "two_views": Workflow("two_views.py", "--events 400 --epochs 3", 10),
    "clouds": Workflow("clouds.py", "--epochs 2", 10),
    "em_neurons": Workflow("em_neurons.py", "--steps 40", 10),
}
_NEEDS_DATA = ("clouds", "em_neurons")


def run_one(name: str, seed: int, work: Path, more: str) -> dict[str, Any]:
    """CostForecast and run a workflow; return what was forecast and what came."""
    flow, run = WORKFLOWS[name], work / f"{name}-{seed}"
    command = [sys.executable, str(ROOT / "workflows" / flow.script), *shlex.split(more), *shlex.split(flow.options)]
    command += ["--run", str(run), "--workers", str(_WORKERS), "--seed", str(seed), "--retrain", "0"]
    _call([*command, "--evaluations", "1"], work / f"{name}-{seed}.txt")
    load, begun = os.getloadavg()[0], time.monotonic()
    found = Run(run)
    assert found.problem is not None
    made = forecast_search(
        found.problem, space_of(found), read_profile("local"), workers=_WORKERS, evaluations=flow.evaluations - 1,
        seed=seed,
    )  # fmt: skip
    took = time.monotonic() - begun
    _call([*command, "--evaluations", str(flow.evaluations)], work / f"{name}-{seed}.txt")
    done = Run(run)
    forecasts = [CostForecast.from_dict(each) for each in done.forecasts]
    return {
        "name": name, "seed": seed, "load": load, "load_after": os.getloadavg()[0], "took": took,
        "before": made.to_dict(), "first": forecasts[-1].to_dict() if forecasts else None,
        "actual": actual(done), "without_first": done.searched[-1][1] - done.searched[-1][0],
    }  # fmt: skip


def _call(command: Sequence[str], output: Path) -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with output.open("ab") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
    if done.returncode not in (0, 1):  # 1: no network has learnt in so short a time
        raise SystemExit(f"{shlex.join(command)}: ended with {done.returncode}; see {output}")


def table(found: Sequence[dict[str, Any]]) -> str:
    """Return the runs as a table in Markdown, and the coverage of the intervals."""
    head = [
        "workflow, seed", "evaluations", "before: forecast", "actual", "actual ÷ forecast", "in interval",
        "first results: forecast", "actual ÷ forecast", "in interval", "load",
    ]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for each in found:
        cells = [f"{each['name']}, {each['seed']}", f"{each['before']['evaluations']}"]
        for kind in ("before", "first"):
            made = None if each[kind] is None else CostForecast.from_dict(each[kind])
            if made is None:
                cells += ["–", "–", "–"]
                continue
            seconds = _actual(each, kind)
            own = [made.seconds.text(duration), f"{seconds / made.seconds.value:.2f}"]
            own.append("yes" if made.seconds.has(seconds) else "no")
            cells += [own[0], duration(seconds), *own[1:]] if kind == "before" else own
        lines.append("| " + " | ".join([*cells, f"{each['load']:.0f} to {each['load_after']:.0f}"]) + " |")
    return "\n".join([*lines, "", *_coverage(found)])


def _actual(each: dict[str, Any], kind: str) -> float:
    """Return the seconds that a forecast was of: the one before did not know the first network, trained alone."""
    return float(each["without_first"] if kind == "before" else each["actual"]["seconds"])


def _coverage(found: Sequence[dict[str, Any]]) -> list[str]:
    lines = []
    for kind, title in (("before", "by short trainings"), ("first", "by the first results")):
        made = [(CostForecast.from_dict(each[kind]), _actual(each, kind)) for each in found if each[kind]]
        within = sum(abs(seconds / forecast.seconds.value - 1) <= 0.3 for forecast, seconds in made)
        covered = sum(forecast.seconds.has(seconds) for forecast, seconds in made)
        of = f"of {len(made)}"
        lines.append(f"{title}: {within} {of} within 30 %, {covered} {of} in the interval that is meant for 4 of 5")
    return lines


def main(words: Sequence[str] | None = None) -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="folder of the runs")
    parser.add_argument("--only", nargs="+", choices=list(WORKFLOWS), default=list(WORKFLOWS), metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], metavar="N")
    text = "options of a workflow, such as its data: 'clouds: DIR'; without them those that need data are left out"
    parser.add_argument("--options", nargs="+", default=[], metavar="TEXT", help=text)
    given = parser.parse_args(words)
    more = dict(one.split(":", 1) for one in given.options)
    given.work.mkdir(parents=True, exist_ok=True)
    results = given.work / _FILE
    found = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    known = {(each["name"], each["seed"]) for each in found}
    for seed in given.seeds:
        for name in given.only:
            if (name, seed) in known or (name in _NEEDS_DATA and name not in more):
                continue
            found.append(run_one(name, seed, given.work, more.get(name, "")))
            with results.open("a") as file:
                file.write(json.dumps(found[-1]) + "\n")
            sys.stderr.write(f"{name}, seed {seed}: done\n")
    sys.stdout.write(table(found) + "\n")


if __name__ == "__main__":
    main()
