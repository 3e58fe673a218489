"""The use of workers as it is read from journals: totals are the sums over their raw lines."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from menndl_dask.genome.individual import Individual
from menndl_dask.result import Result
from menndl_dask.run.recorder import Compared, Recorder
from menndl_dask.run.run import Run
from menndl_dask.run.usage.reading import read_usage
from tests import stories
from tests.runs import recorder

OLD = Path(__file__).parents[2] / "fixtures" / "run_0_1_0.tar.xz"


def written(path: Path, count: int = 40) -> list[tuple[Individual, Result]]:
    """Write a run whose results have FLOPs, and return its evaluations."""
    entries = [
        (one, replace(result, began=stories.START + 9 * one.id, costs={**result.costs, "flops_training": 1e9 + one.id}))
        for one, result in stories.evaluations(count)
    ]
    with recorder(path, stories.STEM) as opened:
        opened.started(evaluations=count)
        opened.present(2, 2, 1)
        opened.asked(one for one, _ in entries)
        opened.completed(entries)
        opened.lost([(3, 12.5), (4, None)])
        opened.ended()
        opened.compared(Compared("standard", entries[0][0], 1.0, replace(entries[0][1], costs={"flops_training": 7.0})))
    return entries


def test_totals_are_the_sums_over_the_raw_lines_of_the_journal(tmp_path: Path) -> None:
    written(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    results = [line["result"] for line in lines if line["event"] == "told"]
    usage = read_usage(tmp_path)
    assert usage.spent.count == len(results) == 40
    assert usage.spent.flops == sum(r["costs"]["flops_training"] for r in results)
    assert usage.spent.seconds == pytest.approx(sum(r["times"]["total"] for r in results))
    for phase in ("train", "build", "data", "measure"):
        assert usage.parts[phase] == pytest.approx(sum(r["times"][phase] for r in results))
    kinds = {r["failure"] for r in results if "failure" in r}
    for kind in kinds:
        seconds = sum(r["times"]["total"] for r in results if r.get("failure") == kind)
        assert usage.by_failure[kind].seconds == pytest.approx(seconds)
    assert kinds == set(usage.by_failure)
    assert sum(spent.flops for spent in usage.by_worker.values()) == usage.spent.flops
    assert (usage.losses, usage.lost_s) == (2, 12.5)
    assert (usage.retraining.count, usage.retraining.flops) == (1, 7.0)
    assert usage.flops.total == pytest.approx(usage.spent.flops)


def test_a_line_that_stands_twice_counts_once(tmp_path: Path) -> None:
    written(tmp_path, 5)
    journal = tmp_path / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([*lines, *(line for line in lines if line.startswith('{"event":"told"'))]))
    assert read_usage(tmp_path).spent.count == 5


def test_a_run_that_has_just_begun_has_no_use_yet(tmp_path: Path) -> None:
    with recorder(tmp_path) as opened:
        opened.started(evaluations=3)
    usage = read_usage(tmp_path)
    assert usage.evaluated == [] and usage.wall_s == usage.sustained == usage.peak == 0.0


def test_each_start_is_a_session_of_its_own(tmp_path: Path) -> None:
    entries = written(tmp_path, 4)
    with Recorder(tmp_path) as again:
        again.started(evaluations=5)
        again.present(1, 1, 1)
        later = replace(entries[0][0], id=99), replace(entries[0][1], began=stories.START + 10_000)
        again.completed([later])
    assert [len(each.evaluated) for each in read_usage(tmp_path).sessions] == [4, 1]


def test_the_data_set_of_a_run_has_its_figures_and_its_course(tmp_path: Path) -> None:
    written(tmp_path, 12)
    run = Run(tmp_path)
    dataset, usage = run.to_xarray(), run.usage()
    assert dataset.attrs["usage_sustained_flops_per_s"] == pytest.approx(usage.sustained)
    length = usage.wall_s / dataset.sizes["interval"]
    assert float(dataset.usage_flops_per_s.sum()) * length == pytest.approx(usage.spent.flops)
    assert float(dataset.usage_networks_per_hour.sum()) * length / 3600 == pytest.approx(12)
    assert float(dataset.usage_present.mean()) == pytest.approx(usage.workers)
    assert float(dataset.usage_best[-1]) == float(dataset.fitness.max())
    assert float(dataset.interval[-1]) == pytest.approx(usage.wall_s)
    assert dataset.began_at.dtype == "datetime64[ns]"


def test_a_run_of_version_0_1_0_says_what_it_has_not_recorded(tmp_path: Path) -> None:
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path, filter="data")
    usage = read_usage(tmp_path / "runs" / "old")
    assert usage.spent.count == 26
    assert not usage.knows_begins and not usage.knows_presence
    assert "wait or idle" in usage.parts
    assert sum(usage.parts.values()) == pytest.approx(usage.slots.total, rel=0.02)
    assert usage.energy.total is None
