"""A benchmark: the same networks on each number of workers, resumed, and what its table and picture show."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from distributed import Client, LocalCluster

from menndl_dask.cli.cli import main
from menndl_dask.errors import RunError, UserError
from menndl_dask.genome.individual import Individual
from menndl_dask.performance import benchmark as module
from menndl_dask.performance.benchmark import STRONG, WEAK, Scaling, benchmark, read_scaling
from menndl_dask.performance.population import drawn
from menndl_dask.performance.scaling_table import picture, scaling_table, write_scaling
from menndl_dask.result import Result
from menndl_dask.run.run import Run
from menndl_dask.space.space import SearchSpace
from tests.problems import problem

PROBLEM = problem()
SPACE = SearchSpace.image(PROBLEM)


def trained(individual: Individual, *_: Any, **__: Any) -> Result:
    """Return a result after a twentieth of a second; the third network fails."""
    time.sleep(0.05)
    costs = {"flops_training": 1e9}
    return Result.failed("diverged", costs=costs) if individual.id == 2 else Result(0.5, costs=costs)


@contextmanager
def in_this_process(profile: str, *, workers: int) -> Iterator[Any]:
    with LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:
        cluster.client = lambda: Client(cluster)
        yield cluster


def scaling(kind: str, workers: int, rate: float, **values: Any) -> Scaling:
    known = {"failed": 0, "stragglers": 1, "tail": 0.05, "networks": 8, "flops_per_s": 1e9, "wall_s": 60.0, **values}
    first = 100.0
    return Scaling(kind, workers, float(workers), per_hour=rate, efficiency=rate / workers / first, **known)


def test_the_same_networks_are_trained_on_each_number_of_workers_and_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "load_cluster", in_this_process)
    said: list[str] = []
    given: dict[str, Any] = {"networks": 4, "workers": [2, 1], "evaluate": trained, "say": said.append}
    found = benchmark(PROBLEM, SPACE, tmp_path, "local", **given)
    assert [(one.kind, one.asked, one.networks, one.failed) for one in found] == [
        (STRONG, 1, 4, 1), (STRONG, 2, 4, 1), (WEAK, 1, 2, 0), (WEAK, 2, 4, 1),
    ]  # fmt: skip
    assert [one.efficiency for one in found if one.asked == 1] == [1.0, 1.0]
    assert found[0].workers == pytest.approx(1.0) and found[1].workers == pytest.approx(2.0)
    assert all(one.flops_per_s == pytest.approx(one.networks * 1e9 / one.wall_s) for one in found)
    keys = {
        (kind, count): Counter(one.genome.key for one, _ in Run(tmp_path / f"{kind}-{count}").evaluations)
        for kind in (STRONG, WEAK)
        for count in (1, 2)
    }
    genomes = [genome.key for genome in drawn(SPACE, 4, 0)]
    assert keys[STRONG, 1] == keys[STRONG, 2] == Counter(genomes)
    assert keys[WEAK, 1] == Counter(genomes[:2]) and keys[WEAK, 2] == Counter(dict.fromkeys(genomes[:2], 2))
    said.clear()
    assert benchmark(PROBLEM, SPACE, tmp_path, "local", **given) == found
    assert said == []  # it was all there
    with pytest.raises(RunError, match=r"differ|expected"):  # a longer training is another benchmark
        benchmark(problem(metric="balanced_accuracy"), SPACE, tmp_path, "local", **{**given, "networks": 8})


def test_fewer_networks_than_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected at least one for each of 1, 4 workers, got 2"):
        benchmark(PROBLEM, SPACE, tmp_path, "local", networks=2, workers=[1, 4])
    with pytest.raises(RunError, match="expected a benchmark with results, got none"):
        read_scaling(tmp_path)


def test_the_draws_depend_on_the_seed_only_and_are_all_different() -> None:
    first = [genome.key for genome in drawn(SPACE, 6, 1)]
    assert len(set(first)) == 6
    assert [genome.key for genome in drawn(SPACE, 3, 1)] == first[:3]
    assert [genome.key for genome in drawn(SPACE, 3, 2)] != first[:3]


def test_the_table_and_the_picture_show_each_measurement(tmp_path: Path) -> None:
    each = [scaling(STRONG, 1, 100), scaling(STRONG, 4, 380, failed=2), scaling(WEAK, 1, 100), scaling(WEAK, 4, 360)]
    (row,) = [line.split() for line in str(scaling_table(each)).splitlines() if "failed" in line]
    assert row == ["strong", "4", "8", "(2", "failed)", "1", "min", "380", "1.00", "GFLOP/s", "95%", "1", "5.0%"]
    table, markdown, drawing = write_scaling(tmp_path, each)
    assert table.read_text().splitlines()[0].startswith("kind,asked,workers,networks,failed,wall_s,per_hour")
    assert len(table.read_text().splitlines()) == 5
    assert markdown.read_text().count("\n") == 6
    root = ET.fromstring(drawing.read_text())  # a file of its own
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = {"".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"strong", "weak", "ideal", "networks an hour", "efficiency, %", "workers"} <= texts
    assert "ideal" in picture(each[:2]) and "weak" not in picture(each[:1]).replace("weak-", "")


def test_mistakes_on_the_command_line_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "data.zarr", "--networks", "0"]) == 2
    error = capsys.readouterr().err
    assert "--networks: expected a number > 0, got 0" in error and error.count("\n") == 1
    with pytest.raises(SystemExit):
        main(["benchmark", "data.zarr", "--workers", "1,two"])
    error = capsys.readouterr().err
    assert "expected numbers such as 1,2,4, got '1,two'" in error and error.count("\n") == 1
