"""A run's directory tells what happened, while it runs, when it is finished, and after a crash."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from menndl_dask.errors import RunError
from menndl_dask.genome.individual import Individual
from menndl_dask.report.content import read_content
from menndl_dask.report.report import write_report
from menndl_dask.result import Result
from menndl_dask.run.journal import Journal
from menndl_dask.run.recorder import STANDARD_ID, Compared, Recorder
from menndl_dask.run.run import Run
from tests.problems import problem
from tests.runs import finished, made_up, recorder, result_of


def test_evaluations_come_in_the_order_in_which_they_came_home(tmp_path: Path) -> None:
    evaluations = made_up()[::-1]
    run = finished(tmp_path, evaluations)
    assert [i.id for i, _ in run.evaluations] == [i.id for i, _ in evaluations]
    for _ in range(2):  # as often as one likes
        read = list(run.evaluations)
        assert [i.genome for i, _ in read] == [i.genome for i, _ in evaluations]
        assert [r for _, r in read] == [r for _, r in evaluations]
    assert list(run.told_at) == [i.id for i, _ in evaluations]


def test_a_run_that_is_being_written_can_be_read(tmp_path: Path) -> None:
    evaluations = made_up(3)
    with recorder(tmp_path) as opened:
        run = Run(tmp_path)
        assert list(run.evaluations) == []
        opened.asked([i for i, _ in evaluations])
        opened.completed(evaluations[:2])
        assert len(list(run.evaluations)) == 2
        opened.note("2 workers joined")
        assert [note["message"] for note in run.notes] == ["2 workers joined"]


def test_a_result_that_is_told_twice_counts_once(tmp_path: Path) -> None:
    evaluations = made_up(3)
    run = finished(tmp_path, evaluations)
    with Recorder(tmp_path) as opened:
        opened.completed(evaluations[:1])
    assert len(list(run.evaluations)) == 3


def test_the_problem_and_the_settings_are_read_back(tmp_path: Path) -> None:
    with recorder(tmp_path, command="menndl search a") as opened:
        opened.started(evaluations=20, hours=None, command="menndl search a")
        opened.started(evaluations=40, hours=2.0, command="menndl search b")
    run = Run(tmp_path)
    assert run.problem == problem()
    assert (run.settings["evaluations"], run.settings["hours"]) == (40, 2.0)
    assert (run.settings["command"], run.settings["seed"]) == ("menndl search b", 7)


def test_the_best_is_the_fittest_and_of_equals_the_first_home(tmp_path: Path) -> None:
    individuals = [i for i, _ in made_up(4)]
    fitnesses = (0.2, 0.9, 0.9, 0.5)
    run = finished(tmp_path, [result_of(i, f) for i, f in zip(individuals[::-1], fitnesses, strict=True)])
    individual, result = run.best()
    assert (individual.id, result.fitness) == (2, 0.9)
    assert run.best().path == (tmp_path / "networks" / "00000002").resolve()
    with pytest.raises(RunError, match=r"00000002/network\.keras: expected the weights of network 2"):
        run.best().model()


def test_what_breaks_a_constraint_is_neither_the_best_nor_on_the_front_unless_all_do(tmp_path: Path) -> None:
    individuals = [i for i, _ in made_up(3)]
    weights = (300.0, 40.0, 20.0)
    each = [
        (one, Result(fitness, costs={"parameters": weight}))
        for one, fitness, weight in zip(individuals, (0.9, 0.7, 0.6), weights, strict=True)
    ]
    limited = replace(problem(), constraints=("parameters<=50",))
    run = finished(tmp_path / "some", each, limited)
    assert run.best().individual == individuals[1]
    assert [one for one, _ in run.front()] == individuals[1:]
    content = read_content(run)
    assert content.best is not None
    assert content.best[0] == individuals[1]
    none = finished(tmp_path / "none", each, replace(limited, constraints=("parameters<=10",)))
    assert none.best().individual == individuals[2]  # the nearest
    assert len(none.front()) == 3


def test_a_run_without_a_success_says_how_it_failed(tmp_path: Path) -> None:
    individuals = [i for i, _ in made_up(3)]
    run = finished(tmp_path, [(i, Result.failed("no_learning")) for i in individuals])
    with pytest.raises(RunError, match=r"no network has succeeded yet: all 3 networks failed: 3 × no_learning"):
        run.best()


def test_networks_to_compare_with_are_kept_apart_from_the_standard_one(tmp_path: Path) -> None:
    evaluations = made_up(3)
    run = finished(tmp_path, evaluations)
    standard = Individual(STANDARD_ID, evaluations[0][0].genome)
    first, second = (individual for individual, _ in evaluations[1:])
    run.compare(Compared("U-Net", standard, 1, Result(0.5)))
    assert run.standard is not None
    assert (run.standard.name, run.standard.result.fitness) == ("U-Net", 0.5)
    assert run.alike == []
    run.compare(Compared("network 1 × 2", first, 2, Result(0.55)))
    for compared in (
        Compared("network 1 × 4", first, 4, Result(0.6)),
        Compared("network 2 × 4", second, 4, Result.failed("diverged")),
        Compared("U-Net × 4", standard, 4, Result(0.7, metrics={"test_mean_iou": 0.69})),
        Compared("network 1 × 4", first, 4, Result(0.8)),
    ):
        run.compare(compared)
    assert [(c.name, c.result.fitness) for c in run.alike] == [
        ("network 1 × 4", 0.8), ("U-Net × 4", 0.7), ("network 2 × 4", None)
    ]  # fmt: skip
    assert run.alike[1].result.metrics == {"test_mean_iou": 0.69}
    assert len(run.comparisons) == 5


def test_a_torn_line_is_told_as_a_note(tmp_path: Path) -> None:
    run = finished(tmp_path, made_up(3))
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    assert len(list(run.evaluations)) == 2
    Recorder(tmp_path).close()
    assert "torn line" in run.notes[0]["message"]
    assert len(list(run.evaluations)) == 2


def test_a_second_driver_is_refused_while_readers_are_not(tmp_path: Path) -> None:
    finished(tmp_path, made_up(3))
    with Recorder(tmp_path), pytest.raises(RunError, match="held by another driver"):
        Run(tmp_path).note("from elsewhere")


def test_a_journal_without_its_settings_is_refused(tmp_path: Path) -> None:
    finished(tmp_path, made_up(3))
    (tmp_path / "run.yaml").unlink()
    with pytest.raises(RunError, match=r"run\.yaml: expected the settings of the run"):
        recorder(tmp_path)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        Recorder(tmp_path / "file" / "run")


def test_the_split_is_kept_and_another_one_refused(tmp_path: Path) -> None:
    splits = {"train": np.arange(8), "validation": np.array([8, 9]), "test": np.array([10])}
    with recorder(tmp_path) as opened:
        opened.keep_splits(splits)
        opened.keep_splits(splits)
        with pytest.raises(RunError, match=r"splits\.npz: the data is split in another way now: validation"):
            opened.keep_splits({**splits, "validation": np.array([9, 8])})
    with np.load(tmp_path / "splits.npz") as kept:
        assert kept["test"].tolist() == [10]


def test_time_spent_is_that_of_all_starts_also_of_killed_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 100.0, 130.0, 200.0, 205.0, 300.0, 301.0])
    monkeypatch.setattr("menndl_dask.run.recorder.time", SimpleNamespace(time=lambda: next(clock)))
    with recorder(tmp_path) as opened:
        opened.started()  # at 0
        opened.ended()  # at 10
        opened.started()  # at 100
        opened.note("killed after this")  # at 130
        opened.started()  # at 200
        opened.note("still there")  # at 205
        assert opened.seconds_spent() == 10 + 30 + 5
        opened.ended()  # at 300
        opened.note("a comparison")  # at 301
        assert opened.seconds_spent() == 10 + 30 + 100


def test_reading_a_long_run_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    evaluations = made_up(10)
    peaks = []
    for times in (1, 5, 25):  # the first one fills caches
        with recorder(tmp_path / str(times)) as opened:
            for _ in range(times):
                opened.asked([i for i, _ in evaluations])
                opened.completed(evaluations)
        tracemalloc.start()
        for number, _ in enumerate(Run(tmp_path / str(times)).evaluations):
            if number % 20 == 0:
                gc.collect()  # what is merely not yet collected says nothing
        assert number == 10 * times - 1
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.5 * peaks[1]


def test_the_report_is_written_from_the_run_alone(tmp_path: Path) -> None:
    run = finished(tmp_path, made_up(6))
    run.note("something happened")
    assert "something happened" in write_report(run).read_text()


def test_a_result_whose_network_was_asked_for_in_a_lost_line_is_kept(tmp_path: Path) -> None:
    evaluations = made_up(3)
    run = finished(tmp_path, evaluations)
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if b'"event":"asked"' not in line))
    assert [(i.id, r) for i, r in run.evaluations] == [(i.id, r) for i, r in evaluations]
    with Recorder(tmp_path) as opened:
        history = list(opened.history())
    assert [individual.id for individual, _ in history] == [i.id for i, _ in evaluations for _ in range(2)]
    path.write_bytes(path.read_bytes() + b"".join(lines))  # as where the lines are found again
    assert [(i.id, r) for i, r in run.evaluations] == [(i.id, r) for i, r in evaluations]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"event": "asked", "individual": {"id": 0, "genome": {"genes": [{"kind": "LaterKind"}]}}}, "LaterKind"),
        ({"event": "migrated", "result": {}}, "individual"),
    ],
)
def test_words_of_a_later_version_are_an_error_in_a_line_that_names_it(
    tmp_path: Path, event: dict[str, object], said: str
) -> None:
    finished(tmp_path, made_up(1))
    started = {"event": "started", "time": 8.0, "format": 1, "version": "9.1.0"}
    with Journal(tmp_path / "journal.jsonl") as opened:
        opened.append([started, {"event": "unknown", "time": 8.5, "what": [1]}, {**event, "time": 9.0}])
    with Recorder(tmp_path) as recorder, pytest.raises(RunError) as raised:
        list(recorder.history())
    message = str(raised.value)
    assert said in message
    assert "menndl_dask 9.1.0 wrote it" in message
    assert "\n" not in message


def test_events_of_unknown_kinds_are_passed_over(tmp_path: Path) -> None:
    finished(tmp_path, made_up(2))
    with Journal(tmp_path / "journal.jsonl") as opened:
        opened.append([{"event": "unknown", "time": 8.5, "what": [1]}, {"event": 5, "time": None}])
    assert len(list(Run(tmp_path).evaluations)) == 2
    with Recorder(tmp_path) as recorder:
        assert recorder.seconds_spent() >= 0


def test_the_weights_of_the_best_network_are_not_read_through_a_link(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", [result_of(made_up(1)[0][0], 0.5)])
    weights = run.best().path / "network.keras"
    weights.parent.mkdir(parents=True)
    (tmp_path / "elsewhere.keras").touch()
    weights.symlink_to(tmp_path / "elsewhere.keras")
    with pytest.raises(RunError, match="expected a file, got a symbolic link"):
        run.best().model()


def test_a_run_with_networks_but_no_journal_is_refused_and_keeps_them(tmp_path: Path) -> None:
    finished(tmp_path, made_up(2))
    (tmp_path / "networks" / "00000001").mkdir(parents=True)
    (tmp_path / "networks" / "00000001" / "genome.json").write_text("{}")
    Recorder(tmp_path).close()
    (tmp_path / "journal.jsonl").rename(tmp_path / "journal.jsonl.dropped-1")
    with pytest.raises(RunError, match=r"journal\.jsonl: expected the journal of these networks, got no such file"):
        Recorder(tmp_path)
    assert (tmp_path / "networks" / "00000001" / "genome.json").exists()
