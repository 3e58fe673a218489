"""The search on real worker processes: nothing is lost, nothing is done twice, whatever dies."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster, Scheduler, SchedulerPlugin, SpecCluster, Worker

from menndl_dask.cluster.cluster import Cluster, load_cluster
from menndl_dask.cluster.profile import Local
from menndl_dask.errors import ExitCode, JournalError, RunError, UserError
from menndl_dask.evolution.evolution import Evolution
from menndl_dask.problem import Budget, Limits
from menndl_dask.run.progress import Counts, ProgressLine
from menndl_dask.run.recorder import Recorder
from menndl_dask.run.run import Run
from menndl_dask.search import dispatcher, scheduler_link
from menndl_dask.search.search import Search
from menndl_dask.space.space import SearchSpace
from menndl_dask.workflow import guarded
from tests import evaluations
from tests.evaluations import SPACE
from tests.problems import problem
from tests.spaces import Edge

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with load_cluster(Local(workers=2, dashboard_port=None)) as started:
        yield started


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> Iterator[Client]:
    with cluster.client() as connected:
        yield connected


class Watch:
    """A progress display that acts when so many results are home."""

    def __init__(self, action: Callable[[], object], after: int) -> None:
        self.after = after
        self._action: Callable[[], object] | None = action
        self.all_counts: list[tuple[int, int | None]] = []

    def show(self, counts: Counts, now: float) -> None:
        self.counts = counts
        self.all_counts.append((counts.done, counts.workers))
        if self._action is not None and counts.done >= self.after:
            action, self._action = self._action, None
            action()

    def close(self, counts: Counts, now: float) -> None:
        self.show(counts, now)


def lost_and_told(run: Run) -> str:
    return " | ".join(str(note["message"]) for note in run.notes)


def ids(run: Run) -> list[int]:
    return [individual.id for individual, _ in run.evaluations]


def test_a_search_ends_with_the_asked_number_each_evaluated_once(client: Client, tmp_path: Path) -> None:
    stream = io.StringIO()
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.instant, settings={"command": "test"}).run(
        client, evaluations=40, progress=ProgressLine(stream)
    )
    assert sorted(ids(run)) == list(range(40))
    assert "menndl 40/40 evaluations" in stream.getvalue().splitlines()[-1]
    assert run.settings["evaluations"] == 40
    assert (tmp_path / "run.zarr").is_dir()
    assert run.best().result.fitness == max(r.fitness for _, r in run.evaluations if r.fitness is not None)
    assert not client.futures
    assert client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) == 0


def test_the_same_command_again_changes_nothing_and_a_larger_number_carries_on(client: Client, tmp_path: Path) -> None:
    Search(None, SPACE, tmp_path, evaluate=evaluations.instant).run(client, evaluations=10)
    before = (tmp_path / "journal.jsonl").read_bytes()
    Search(None, SPACE, tmp_path, evaluate=evaluations.instant).run(client, evaluations=10)
    assert (tmp_path / "journal.jsonl").read_bytes() == before
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.instant).run(client, evaluations=15)
    assert sorted(ids(run)) == list(range(15))
    assert "carried on after 10 evaluations" in [note["message"] for note in run.notes]


def test_one_search_may_be_run_again_and_again(client: Client, tmp_path: Path) -> None:
    one = Search(None, SPACE, tmp_path / "in parts", evaluate=evaluations.instant)
    for number in (5, 12, 30):
        run = one.run(client, evaluations=number)
    assert sorted(ids(run)) == list(range(30))
    assert isinstance(one.evolution, Evolution)
    assert sum(one.evolution.failures.values()) == sum(not r.succeeded for _, r in run.evaluations)


def test_a_replayed_journal_proposes_the_same_children(client: Client, tmp_path: Path) -> None:
    Search(None, SPACE, tmp_path, evaluate=evaluations.instant, seed=3).run(client, evaluations=60)
    lived, replayed = Evolution(SPACE, seed=3), Evolution(SPACE, seed=3)
    with Recorder(tmp_path) as recorder:
        for is_asked, events in groupby(recorder.history(), key=lambda event: event[1] is None):
            group = list(events)
            if is_asked:  # together, in one process, with the same order of results
                assert lived.ask(len(group)) == [individual for individual, _ in group]
            for individual, result in group:
                if result is None:
                    replayed.recall(individual)
                else:
                    lived.tell(individual, result)
                    replayed.tell(individual, result)
    assert [lived.ask() for _ in range(20)] == [replayed.ask() for _ in range(20)]


def test_evaluations_that_were_in_flight_are_submitted_first(client: Client, tmp_path: Path) -> None:
    one = Search(None, SPACE, tmp_path, evaluate=evaluations.instant)
    one.run(client, evaluations=10)
    with Recorder(tmp_path) as recorder:  # as a driver does that is killed then
        asked = [one.evolution.ask() for _ in range(3)]
        recorder.asked(asked)
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.instant).run(client, evaluations=20)
    assert sorted(ids(run)) == list(range(20))
    again = {individual.id: individual for individual, _ in run.evaluations}
    assert all(again[individual.id] == individual for individual in asked)
    assert "3 networks in flight then: submitted again" in lost_and_told(run)


def test_the_fittest_networks_are_kept_and_the_others_removed(client: Client, tmp_path: Path) -> None:
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.saving, seed=5).run(client, evaluations=60)
    fitnesses = {i.name: r.fitness for i, r in run.evaluations if r.fitness is not None}
    kept = sorted(path.name for path in (tmp_path / "networks").iterdir())
    assert len(kept) == 3
    assert sorted(fitnesses[name] for name in kept) == sorted(fitnesses.values())[-3:]
    best = run.best()
    assert (best.path / "network.keras").read_text() == str(best.result.fitness)
    assert json.loads((best.path / "genome.json").read_text()) == best.individual.genome.to_dict()
    seeds = [r.seed for _, r in run.evaluations if r.succeeded]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("evaluate", "kind", "told"),
    [
        (evaluations.raising, "error", "ValueError: a mistake in the user's metric"),
        (evaluations.rubbish, "error", "evaluate: expected a Result, got float"),
        (evaluations.failing, "no_learning", "made up"),
    ],
)
def test_what_goes_wrong_in_an_evaluation_is_a_failed_result(
    client: Client, tmp_path: Path, evaluate: Any, kind: str, told: str
) -> None:
    run = Search(None, SPACE, tmp_path, evaluate=evaluate).run(client, evaluations=10)
    failed = [result for _, result in run.evaluations if not result.succeeded]
    assert len(ids(run)) == 10
    assert (kind, told) in {(result.failure, result.message) for result in failed}


def test_a_run_whose_every_network_fails_ends_with_a_diagnosis(client: Client, tmp_path: Path) -> None:
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.failing).run(client, evaluations=8)
    assert "all 8 networks failed: 8 × no_learning" in lost_and_told(run)
    with pytest.raises(RunError, match="no network has succeeded"):
        run.best()


def test_a_space_that_is_exhausted_ends_the_search(client: Client, tmp_path: Path) -> None:
    space = SearchSpace.slots([Edge] * 2)
    run = Search(None, space, tmp_path, evaluate=evaluations.instant).run(client, evaluations=99)
    assert len(ids(run)) == 25
    assert "all 25 networks of the search space have been asked for" in lost_and_told(run)


def test_hours_end_a_search_and_what_no_worker_has_begun_is_left(client: Client, tmp_path: Path) -> None:
    watch = Watch(lambda: setattr(watch.counts, "deadline", 0.0), after=6)
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.brief).run(client, hours=1.0, progress=watch)
    done = len(ids(run))
    assert 6 <= done <= 10
    assert "the time is up: " in lost_and_told(run)
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.brief).run(client, hours=1e-6)
    assert len(ids(run)) == done  # the hours are spent
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.brief).run(client, evaluations=done + 4)
    assert sorted(ids(run)) == list(range(done + 4))


def test_a_search_whose_time_is_up_waits_no_longer_than_an_evaluation_may_take(client: Client, tmp_path: Path) -> None:
    watch = Watch(lambda: setattr(watch.counts, "deadline", 0.0), after=0)
    evaluate = partial(evaluations.waiting, tmp_path / "go on")
    one = Search(None, SPACE, tmp_path, evaluate=evaluate, limits=Limits(seconds=0.5))
    run = one.run(client, hours=1.0, progress=watch)
    (tmp_path / "go on").touch()
    assert ids(run) == []
    assert "2 evaluations did not end in time: left to the next start" in lost_and_told(run)


def test_a_search_without_a_budget_is_refused(client: Client, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected evaluations or hours"):
        Search(None, SPACE, tmp_path, evaluate=evaluations.instant).run(client)


def test_another_search_in_the_same_directory_is_refused(client: Client, tmp_path: Path) -> None:
    Search(None, SPACE, tmp_path, evaluate=evaluations.instant).run(client, evaluations=3)
    with pytest.raises(RunError, match="the run is for another search: seed: expected 0, got 1"):
        Search(None, SPACE, tmp_path, evaluate=evaluations.instant, seed=1).run(client, evaluations=3)


def test_a_second_driver_is_refused_in_a_line(client: Client, tmp_path: Path) -> None:
    def second() -> None:
        with pytest.raises(RunError, match=rf"held by another driver \(host .*process {os.getpid()}") as caught:
            Search(None, SPACE, tmp_path, evaluate=evaluations.instant).run(client, evaluations=9)
        assert "\n" not in str(caught.value)

    watch = Watch(second, after=3)
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.instant).run(client, evaluations=9, progress=watch)
    assert sorted(ids(run)) == list(range(9))


@pytest.mark.parametrize(("number", "told"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_ctrl_c_and_a_request_to_end_leave_a_run_that_can_be_carried_on(
    number: int, told: str, client: Client, tmp_path: Path
) -> None:
    def main() -> int:
        watch = Watch(lambda: os.kill(os.getpid(), number), after=5)
        Search(None, SPACE, tmp_path, evaluate=evaluations.brief).run(client, evaluations=20, progress=watch)
        return 0

    assert guarded(main) == ExitCode.STOPPED
    assert f"stopped by {told}" in lost_and_told(Run(tmp_path))
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.instant).run(client, evaluations=20)
    assert sorted(ids(run)) == list(range(20))


def test_what_is_done_on_a_change_is_done_seldom_and_may_fail(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    def rewrite(run: Run) -> None:
        seen.append(len(ids(run)))
        raise OSError("the disk of the report is full")

    with caplog.at_level(logging.ERROR, "menndl_dask"):
        Search(None, SPACE, tmp_path, evaluate=evaluations.instant).run(client, evaluations=30, on_change=rewrite)
    assert len(seen) == 1
    assert "the search goes on without it" in caplog.text


def test_a_worker_killed_in_mid_run_costs_no_evaluation_and_is_told(client: Client, tmp_path: Path) -> None:
    pids = list(client.run(os.getpid).values())
    watch = Watch(lambda: os.kill(pids[0], signal.SIGKILL), after=4)
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.brief).run(client, evaluations=50, progress=watch)
    assert sorted(ids(run)) == list(range(50))
    assert {r.failure for _, r in run.evaluations} <= {None, "no_learning"}
    assert "1 worker left" in lost_and_told(run)
    client.wait_for_workers(2, timeout=150)


def test_whatever_a_users_function_returns_the_search_goes_on(client: Client, tmp_path: Path) -> None:
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.odd).run(client, evaluations=11)
    results = {individual.id: result for individual, result in run.evaluations}
    assert sorted(results) == list(range(11))
    failed = {n: result.failure for n, result in results.items() if not result.succeeded}
    assert failed == dict.fromkeys(range(7, 11), "error")
    assert len(results[2].message) == 2000
    assert results[10].message.startswith("UnfriendlyError")
    assert all(result.worker for result in results.values())
    for line in (tmp_path / "journal.jsonl").read_text().splitlines():
        assert len(line) < 5_000
        json.loads(line)
    again = Search(None, SPACE, tmp_path, evaluate=evaluations.instant).run(client, evaluations=12)
    assert {i.id: r for i, r in again.evaluations if i.id < 11} == results


def test_a_network_that_kills_its_workers_again_and_again_is_given_up_and_no_other(
    client: Client, tmp_path: Path
) -> None:
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.poisonous).run(client, evaluations=12)
    results = {individual.id: result for individual, result in run.evaluations}
    assert sorted(results) == list(range(12))
    assert [n for n, result in results.items() if result.failure == "worker_lost"] == [1]
    assert re.match(r"4 workers died while they evaluated it \(\w+://.*, .*, .*, .*\)$", results[1].message)
    assert lost_and_told(run).count("while evaluating network 1; evaluated again later, few at a time") == 3
    client.wait_for_workers(2, timeout=150)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have evaluations given up soon after their time limit, but none that a busy machine holds for a moment."""
    monkeypatch.setattr(dispatcher, "_MARGIN_S", 3.0)
    monkeypatch.setattr(dispatcher, "_LOOK_S", 0.3)


@pytest.mark.usefixtures("impatient")
def test_an_evaluation_that_hangs_is_given_up_while_the_others_deliver(
    client: Client, tmp_path: Path
) -> None:
    evaluate = evaluations.busy_beside_a_hanging_one
    run = Search(None, SPACE, tmp_path, evaluate=evaluate, limits=Limits(seconds=0.1)).run(client, evaluations=120)
    results = [(individual.id, result) for individual, result in run.evaluations]
    assert sorted(n for n, _ in results) == list(range(120))
    [place] = [place for place, (_, result) in enumerate(results) if result.failure == "timed_out"]
    assert results[place][0] == 1
    assert 3 < place < 119  # others came before and after it
    assert re.search(r"gave up 1 evaluation after \S+ s and restarted 1 worker", lost_and_told(run))
    client.wait_for_workers(2, timeout=150)


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_does_not_answer_is_no_fault_of_its_network(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_link, "ANSWER_S", 1.0)
    pid = next(iter(client.run(os.getpid).values()))
    watch = Watch(lambda: os.kill(pid, signal.SIGSTOP), after=4)
    one = Search(None, SPACE, tmp_path, evaluate=evaluations.brief, limits=Limits(seconds=0.5))
    run = one.run(client, evaluations=30, progress=watch)
    assert sorted(ids(run)) == list(range(30))
    assert {r.failure for _, r in run.evaluations} <= {None, "no_learning"}
    assert "and restarted 1 worker, 1 of them silent" in lost_and_told(run)
    client.wait_for_workers(2, timeout=150)


def test_the_same_error_everywhere_ends_the_search_and_costs_no_network(client: Client, tmp_path: Path) -> None:
    why = r"2[0-9] evaluations in a row failed alike: error: \w+: No module named .my_metric.; on [12] worker"
    with pytest.raises(RunError, match=f"{why}.*; a problem of the site or of your code.*the same command carries on"):
        Search(None, SPACE, tmp_path, evaluate=evaluations.misconfigured).run(client, evaluations=60)
    assert ids(Run(tmp_path)) == []
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.instant).run(client, evaluations=60)
    assert sorted(ids(run)) == list(range(60))
    assert "error" not in {r.failure for _, r in run.evaluations}


def test_the_one_of_two_workers_on_which_all_fails_retires(tmp_path: Path) -> None:
    workers = {name: {"cls": Worker, "options": {"nthreads": 1, "nanny": False}} for name in ("unfit", "sound")}
    scheduler = {"cls": Scheduler, "options": {"dashboard": False, "dashboard_address": "127.0.0.1:0"}}
    with SpecCluster(workers, scheduler) as cluster, Client(cluster, set_as_default=False) as client:
        run = Search(None, SPACE, tmp_path, evaluate=evaluations.misconfigured_on_one).run(client, evaluations=40)
    assert sorted(ids(run)) == list(range(40))
    assert "1 worker retired; the networks are evaluated on others" in lost_and_told(run)


def test_few_evaluations_that_all_fail_are_recorded_in_the_end(client: Client, tmp_path: Path) -> None:
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.misconfigured).run(client, evaluations=8)
    assert sorted(ids(run)) == list(range(8))
    assert "all 8 networks failed: 8 × error: ModuleNotFoundError: No module named 'my_metric'" in lost_and_told(run)
    with pytest.raises(RunError, match="all 8 networks failed: 8 × error: ModuleNotFoundError: No module named"):
        run.best()


_SMALL = 8  # tasks of a group, with two workers, that Dask may send to a busy worker as they come


class MostOnAWorker(SchedulerPlugin):
    """Remembers how many tasks a worker of one thread has had at once, and what made its networks."""

    def __init__(self) -> None:
        self.most = 0
        self.operators: set[str] = set()
        self._begun = 0

    async def start(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        if finish == "processing":
            self._begun += 1
            if self._begun > _SMALL:
                self.most = max(self.most, *(len(worker.processing) for worker in self._scheduler.workers.values()))
            self.operators.add(str(key).split("-")[2])


def _most_on_a_worker(dask_scheduler: Scheduler) -> tuple[int, set[str]]:
    plugin = dask_scheduler.plugins["most"]
    return plugin.most, plugin.operators


def test_no_evaluation_waits_on_a_busy_worker_whatever_made_it(client: Client, tmp_path: Path) -> None:
    # Dask decides by the number of tasks in a group that are known to it, which few tasks in flight do not make large
    client.register_plugin(MostOnAWorker(), name="most")
    try:
        run = Search(None, SPACE, tmp_path, evaluate=evaluations.brief, random=6).run(client, evaluations=40)
        most, operators = client.run_on_scheduler(_most_on_a_worker)
    finally:
        client.unregister_scheduler_plugin("most")
    assert sorted(ids(run)) == list(range(40))
    assert len(operators) > 2
    assert most == 1


def test_a_search_ends_without_workers_when_it_is_told_to(tmp_path: Path) -> None:
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as empty,
        Client(empty.scheduler_address, set_as_default=False) as connected,
    ):
        one = Search(None, SPACE, tmp_path, evaluate=evaluations.instant)
        with pytest.raises(RunError, match=r"no worker has been there for .* s; start workers for the scheduler at "):
            one.run(connected, evaluations=9, wait_minutes=0.02)


def test_networks_are_compared_with_the_initial_one_as_soon_as_it_is_trained(client: Client, tmp_path: Path) -> None:
    of = problem(budget=Budget(epochs=2, rungs=(0.5,)))
    given = Evolution(SPACE, seed=5).ask().genome
    one = Search(of, SPACE, tmp_path, evaluate=evaluations.climbing, initial=[given], random=6)
    run = one.run(client, evaluations=10)
    known = {individual.id: result.metrics["thresholds"] for individual, result in run.evaluations if result.metrics}
    events = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    trained = next(place for place, event in enumerate(events) if event["event"] == "told" and event["id"] == 0)
    later = {event["individual"]["id"] for event in events[trained:] if event["event"] == "asked"}
    assert known[0] == 0.0
    assert later and {known[number] for number in later & known.keys()} == {1.0}  # before twelve are known


def test_networks_clearly_behind_are_stopped_by_what_was_known_when_they_were_submitted(
    client: Client, tmp_path: Path
) -> None:
    of = problem(budget=Budget(epochs=2, rungs=(0.5,), rung_quantile=0.5))
    one = Search(of, SPACE, tmp_path, evaluate=evaluations.climbing)
    run = one.run(client, evaluations=60)
    results = [result for _, result in run.evaluations]
    stopped = [n for n, result in enumerate(results) if result.failure == "pruned"]
    assert 0 < len(stopped) < 40
    assert min(stopped) >= 12  # so many must be known
    assert {result.metrics["thresholds"] for result in results if result.metrics} == {0.0, 1.0}
    best = max(result.fitness or 0.0 for result in results)
    assert run.best().result.fitness == best
    again = Search(of, SPACE, tmp_path, evaluate=evaluations.climbing).run(client, evaluations=70)
    assert [result.metrics["thresholds"] for _, result in again.evaluations if result.metrics][-5:] == [1.0] * 5
    unpruned = replace(of, budget=of.budget.without_early_stopping())
    other = Search(unpruned, SPACE, tmp_path / "other", evaluate=evaluations.climbing)
    assert not any(r.failure == "pruned" for _, r in other.run(client, evaluations=40).evaluations)


def test_late_workers_get_work_though_no_result_arrives(tmp_path: Path) -> None:
    with (
        LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=40) as late,
        Client(late) as connected,
    ):
        watch = Watch(lambda: late.scale(3), after=0)
        evaluate = partial(evaluations.unhurried, tmp_path / "hurry")
        hurry = threading.Thread(target=lambda: (connected.wait_for_workers(3), (tmp_path / "hurry").touch()))
        hurry.start()
        run = Search(None, SPACE, tmp_path, evaluate=evaluate).run(connected, evaluations=60, progress=watch)
        hurry.join()
        assert sorted(ids(run)) == list(range(60))
        shares = Counter(result.worker for _, result in run.evaluations)
        assert len(shares) == 3
        assert (0, 0) in watch.all_counts


def test_a_scheduler_that_goes_away_leaves_a_run_that_can_be_carried_on(client: Client, tmp_path: Path) -> None:
    code = "import sys; from distributed import LocalCluster\nif __name__ == '__main__':\n  " + (
        "c = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol='tcp://', "
        "dashboard_address='127.0.0.1:0'); print(c.scheduler_address, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    ) as scheduler:
        assert scheduler.stdout is not None
        address = scheduler.stdout.readline().strip()
        with Client(address, timeout=10, set_as_default=False) as connected:
            watch = Watch(scheduler.kill, after=3)
            with pytest.raises(RunError, match=r"lost the scheduler at .*the same command carries on"):
                Search(None, SPACE, tmp_path, evaluate=evaluations.brief).run(connected, evaluations=50, progress=watch)
    run = Search(None, SPACE, tmp_path, evaluate=evaluations.instant).run(client, evaluations=50)
    assert sorted(ids(run)) == list(range(50))


DRIVER = """
import sys
import threading

if __name__ == "__main__":
    from menndl_dask.cluster.cluster import load_cluster
    from menndl_dask.cluster.profile import Local
    from menndl_dask.search.search import Search
    from tests import evaluations

    with load_cluster(Local(workers=2, dashboard_port=None)) as cluster, cluster.client() as client:
        search = Search(None, evaluations.SPACE, sys.argv[1], evaluate=evaluations.brief)
        search.run(client, evaluations=int(sys.argv[2]), on_change=lambda run: print("news", flush=True))
"""


def test_a_driver_killed_in_mid_run_repeats_nothing_and_loses_nothing(tmp_path: Path) -> None:
    script, path = tmp_path / "driver.py", tmp_path / "run"
    script.write_text(DRIVER)
    command = [sys.executable, str(script), str(path), "30"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "news\n"
        driver.kill()
    finished = {individual.id: result for individual, result in Run(path).evaluations}
    assert 0 < len(finished) < 30
    subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=True, timeout=300)
    run = Run(path)
    told = [event["id"] for event in run._events("told")]
    assert sorted(told) == list(range(30))
    assert {i.id: r for i, r in run.evaluations if i.id in finished} == finished
    assert "carried on after" in lost_and_told(run)


def test_a_search_without_a_space_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"space: expected a SearchSpace, such as SearchSpace\.image.*, got None"):
        Search(None, None, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"problem: expected a Problem, as open_problem returns it, got 'data\.zarr'"):
        Search("data.zarr", SPACE, tmp_path)  # type: ignore[arg-type]


def test_a_journal_that_is_replaced_or_a_run_that_is_moved_ends_the_search_and_no_result_is_lost(
    client: Client, tmp_path: Path
) -> None:
    path, moved = tmp_path / "run", tmp_path / "moved"

    def replace_journal() -> None:
        journal = path / "journal.jsonl"
        journal.rename(path / "before")
        journal.write_bytes((path / "before").read_bytes())
        (path / "before").unlink()

    for action, what in ((replace_journal, "replaced by another file"), (lambda: path.rename(moved), "moved to")):
        done = len(list(Run(path).evaluations)) if path.exists() else 0
        search = Search(None, SPACE, path, evaluate=evaluations.brief)
        with pytest.raises(JournalError, match=what):
            search.run(client, evaluations=500, progress=Watch(action, done + 5))
    assert not path.exists()
    search = Search(None, SPACE, moved, evaluate=evaluations.instant)
    run = search.run(client, evaluations=40)
    assert sorted(individual.id for individual, _ in run.evaluations) == list(range(40))
    assert any("taken in from" in note["message"] for note in run.notes)


def test_values_that_no_search_can_have_are_told_in_a_line(tmp_path: Path) -> None:
    for given, told in (
        ({"seed": None}, "seed: expected an integer ≥ 0, got None"),
        ({"limits": 3}, "limits: expected Limits, such as Limits\\(seconds=600\\), got 3"),
        ({"evaluate": "mine"}, "evaluate: expected a function, got 'mine'"),
        ({"run": ""}, "run: expected a directory, got ''"),
        ({"island": -1}, "island: expected an integer ≥ 0, or None, got -1"),
    ):
        with pytest.raises(UserError, match=told):
            Search(None, SPACE, **{"run": tmp_path, **given})  # type: ignore[arg-type]
    one = Search(None, SPACE, tmp_path, evaluate=evaluations.instant)
    for budget, told in (
        ({"evaluations": -1}, "evaluations: expected an integer ≥ 0, or None, got -1"),
        ({"evaluations": "9"}, "evaluations: expected an integer ≥ 0, or None, got '9'"),
        ({"hours": float("nan")}, "hours: expected a number ≥ 0, or None, got nan"),
        ({"hours": 1}, "client: expected a Client of Dask, got None"),
    ):
        with pytest.raises(UserError, match=told):
            one.run(None, **budget)  # type: ignore[arg-type]
