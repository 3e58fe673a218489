"""Three islands on this machine, each with a driver, a scheduler and a worker of its own; nobody is safe."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from menndl_dask.cli.cli import main
from menndl_dask.errors import RunError
from menndl_dask.problem import Limits
from menndl_dask.run import stop_request
from menndl_dask.run.journal import holder, read_journal
from menndl_dask.run.layout import folder_of, folders_of, island_of
from menndl_dask.run.recorder import Recorder
from menndl_dask.run.run import Run
from menndl_dask.run.settings import frozen_settings
from menndl_dask.search.islands import supervisor
from menndl_dask.search.islands.status import IslandStatus
from menndl_dask.search.islands.supervisor import Command, last_one
from tests.islanders import HURRY, ISLANDS, SPACE
from tests.processes import gone, until

ROOT = Path(__file__).parents[3]
ASKED = 150
SETTINGS = frozen_settings(None, SPACE, 0, Limits(), {})


@dataclass(frozen=True)
class Story:
    """A run whose second island was killed, then whoever looked after all, and that was carried on to its end."""

    path: Path
    after_the_kill: list[int]
    when_all_ended: list[int]
    left: list[psutil.Process]
    output: str
    errors: str
    status: int


def started(run: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.islanders", str(run), str(ASKED)],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def told(run: Path) -> list[int]:
    """Return how many results each island has."""
    journals = [folder_of(run, island) / "journal.jsonl" for island in range(ISLANDS)]
    return [sum(1 for _ in read_journal(path, "told")) if path.exists() else 0 for path in journals]


def driver_of(run: Path, island: int) -> int:
    """Return the process number of an island's driver."""
    found = re.search(r"process (\d+)", holder(folder_of(run, island)) or "")
    assert found is not None
    return int(found[1])


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    run = tmp_path_factory.mktemp("archipelago") / "run"
    first = started(run)
    until(lambda: min(told(run)) >= 2, first)
    processes = psutil.Process(first.pid).children(recursive=True)
    killed = driver_of(run, 1)
    os.kill(killed, signal.SIGKILL)
    after_the_kill = told(run)
    until(lambda: all(now > before + 1 for now, before in zip(told(run), after_the_kill, strict=True)), first)
    assert driver_of(run, 1) != killed
    first.kill()
    first.communicate()
    left = [process for process in processes if not gone(process.pid)]
    when_all_ended = told(run)
    (run / HURRY).touch()
    second = started(run)
    output, errors = second.communicate(timeout=300)
    return Story(run, after_the_kill, when_all_ended, left, output, errors, second.returncode)


def test_a_driver_that_is_killed_is_started_again_and_carries_on_while_the_others_go_on(story: Story) -> None:
    assert all(now > before for now, before in zip(story.when_all_ended, story.after_the_kill, strict=True))
    notes = [str(note["message"]) for note in Run(story.path).notes]
    killed = r"island 1: its driver was ended by SIGKILL \(.*\); it is started again"
    assert any(re.match(killed, note) for note in notes)
    count = story.after_the_kill[1]  # of results, or one that came home just then
    assert any(re.match(f"island 1: carried on after ({count}|{count + 1}) evaluation", note) for note in notes)


def test_all_drivers_end_with_whoever_looks_after_them_and_the_same_command_carries_on(story: Story) -> None:
    assert story.left == []
    assert story.status == 0, story.errors
    assert sum(story.when_all_ended) < ASKED
    notes = [str(note["message"]) for note in Run(story.path).notes]
    for island, count in enumerate(story.when_all_ended):
        assert any(note.startswith(f"island {island}: carried on after {count} evaluations") for note in notes)


def test_the_islands_spend_one_budget_and_evaluate_nothing_twice(story: Story) -> None:
    evaluations = list(Run(story.path).evaluations)
    assert ASKED <= len(evaluations) < 2 * ASKED  # three workers get ten networks a second each until all are told
    assert set(Counter(individual.id for individual, _ in evaluations).values()) == {1}
    assert Counter(island_of(individual) for individual, _ in evaluations).keys() == set(range(ISLANDS))


def test_the_run_is_read_as_one_in_the_order_of_time(story: Story) -> None:
    run = Run(story.path)
    ids = [individual.id for individual, _ in run.evaluations]
    times = [run.told_at[number] for number in ids]
    assert times == sorted(times)
    assert [island_of(one) for one, _ in run.evaluations] != sorted(island_of(one) for one, _ in run.evaluations)
    assert run.settings["evaluations"] == ASKED
    assert run.settings["command"] == "test"
    dataset = run.to_xarray()
    assert dataset.id.values.tolist() == ids
    best = run.best()
    assert best.result.fitness == float(dataset.fitness.max())
    folder = folder_of(story.path, island_of(best.individual))
    assert best.path == (folder / "networks" / best.individual.name).resolve()
    assert (best.path / "genome.json").exists()


def test_lineage_leads_across_islands(story: Story) -> None:
    run = Run(story.path)
    assert run.migrations == sum(island.migrations for island in run.islands.values()) > 0
    known = {individual.id for individual, _ in run.evaluations}
    crossed = [
        one for one, _ in run.evaluations if {island_of(one)} != {parent // 10_000_000 for parent in one.parents}
    ]
    assert all(set(one.parents) <= known for one, _ in run.evaluations)
    assert [one for one in crossed if one.parents]


def test_progress_status_and_report_show_one_run(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"menndl {len(list(Run(story.path).evaluations))}/{ASKED} evaluations · best" in story.errors
    assert main(["status", str(story.path)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"(?m)^island 2: +none; its budget is spent; \d+ evaluations, best", said)
    assert f"evaluations of {ASKED}" in said
    assert main(["report", str(story.path)]) == 0
    assert "The best networks of the search, trained with its budget:" in capsys.readouterr().out
    page = (story.path / "report.html").read_text()
    assert "<td>island 2</td>" in page
    assert "migrants received" in page


def test_nothing_remains_of_the_drivers(story: Story) -> None:
    assert {holder(folder) for folder in folders_of(story.path).values()} == {None}
    # a worker whose driver was killed says in Dask's words that it lost its scheduler, but in the driver's file
    assert "Traceback" not in story.output + story.errors


def test_the_same_command_after_the_end_starts_no_driver(story: Story) -> None:
    nobody = {0: Command(["false"])}
    assert supervisor.supervise(story.path, SETTINGS, nobody, evaluations=ASKED, hours=None) is None


def test_drivers_that_all_fail_are_told_in_their_own_words(tmp_path: Path) -> None:
    commands = {island: Command(["sh", "-c", "echo no such profile; exit 2"]) for island in range(2)}
    told = r"the driver of island 0 ended with status 2: no such profile; see .*islands/00/driver\.txt"
    with pytest.raises(RunError, match=told):
        supervisor.supervise(tmp_path, SETTINGS, commands, evaluations=5, hours=None)


def dying_after_one_result(run: Path) -> Command:
    """Return a driver whose first start brings a result home, and that is killed each time."""
    IslandStatus(results=1).write(run)
    folder = folder_of(run, 0)
    return Command(["sh", "-c", f"test -e {folder}/island.json || cp {run}/island.json {folder}; kill -9 $$"])


def test_a_driver_that_dies_again_and_again_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_PAUSE_S", 0.0)
    commands = {0: dying_after_one_result(tmp_path)}
    with pytest.raises(RunError, match="no driver came to its end; the driver of island 0 was ended by SIGKILL"):
        supervisor.supervise(tmp_path, SETTINGS, commands, evaluations=5, hours=None)
    notes = [str(note["message"]) for note in Run(tmp_path).notes]
    assert [note.endswith("it is started again") for note in notes] == [True, True, True, False]
    assert notes[-1].endswith("3 in a row died without a result, so it is not started again; it was the last")


def test_a_driver_is_not_started_again_when_the_budget_is_spent(tmp_path: Path) -> None:
    commands = {0: dying_after_one_result(tmp_path)}
    with pytest.raises(RunError, match="no driver came to its end"):
        supervisor.supervise(tmp_path, SETTINGS, commands, evaluations=1, hours=None)
    assert [str(note["message"]).endswith("it was the last") for note in Run(tmp_path).notes] == [True]


def test_an_island_that_somebody_else_has_taken_over_is_left_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_HELD_S", 0.0)
    monkeypatch.setattr(supervisor, "_PAUSE_S", 0.0)
    start, started = supervisor._start_driver, set[int]()
    with ExitStack() as theirs:

        def taking_over(run: Path, island: int, command: Command) -> supervisor._IslandDriver:
            """Take the island's lock when its driver has died, before it is started again."""
            if island in started:
                theirs.enter_context(Recorder(folder_of(tmp_path, island)))
            started.add(island)
            return start(run, island, command)

        monkeypatch.setattr(supervisor, "_start_driver", taking_over)
        commands = {0: dying_after_one_result(tmp_path), 1: Command(["sh", "-c", "exit 1"])}
        supervisor.supervise(tmp_path, SETTINGS, commands, evaluations=5, hours=None)
    assert "its driver cannot be started again" in str(Run(tmp_path).notes[-1]["message"])
    assert "held by another driver" in str(Run(tmp_path).notes[-1]["message"])


def test_an_island_that_was_started_by_itself_and_has_vanished_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.freeze(SETTINGS)
    hours_ago = time.time() - 3 * 3600
    for island, workers in enumerate((4, 0, 4)):  # killed, ended in order, running
        folder = folder_of(tmp_path, island)
        folder.mkdir(parents=True)
        IslandStatus(results=7, workers=workers).write(folder)
        if island < 2:
            os.utime(folder / "island.json", (hours_ago, hours_ago))
    assert main(["status", str(tmp_path)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("island ")]
    assert ["NOT HEARD OF for 3" in line for line in lines] == [True, False, False]


def test_a_run_whose_drivers_were_stopped_says_so(tmp_path: Path) -> None:
    commands = {0: Command(["sh", "-c", "exit 130"])}
    assert supervisor.supervise(tmp_path, SETTINGS, commands, evaluations=5, hours=None) == "asked to stop"


def test_all_drivers_are_asked_to_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Recorder(folder_of(tmp_path, 0)), Recorder(folder_of(tmp_path, 2)):
        folder_of(tmp_path, 1).mkdir()
        assert main(["stop", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("to stop once its running evaluations are finished") == 2
    assert [stop_request.is_asked(folder) for folder in folders_of(tmp_path).values()] == [True, False, True]


def test_a_driver_that_is_only_starting_is_asked_to_stop_later(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 0)

    class Stopping:
        """Asks the run to stop while its driver starts; then the driver begins, and ends once it is asked."""

        recorder: Recorder | None = None

        def show(self, counts: object, now: float) -> None:
            if self.recorder is None:
                assert main(["stop", str(tmp_path)]) == 0
                self.recorder = Recorder(folder)
                stop_request.begin(folder)
            elif stop_request.is_asked(folder):
                (tmp_path / "end").touch()

        def close(self, counts: object, now: float) -> None:
            assert self.recorder is not None
            self.recorder.close()

    waiting = f"until test -e {tmp_path}/end; do sleep 0.1; done; exit 130"
    commands = {0: Command(["sh", "-c", waiting])}
    stopped = supervisor.supervise(tmp_path, SETTINGS, commands, evaluations=5, hours=None, progress=Stopping())
    assert stopped == "asked to stop"


def test_one_looks_after_the_drivers_of_a_run_and_they_end_with_it(tmp_path: Path) -> None:
    class Interrupting:
        def show(self, counts: object, now: float) -> None:
            with pytest.raises(RunError, match="held by another driver"):
                supervisor.supervise(tmp_path, SETTINGS, {}, evaluations=5, hours=None)
            raise KeyboardInterrupt

        close = show

    commands = {island: Command(["sh", "-c", "echo $$; exec sleep 60"], {"HOME": None}) for island in range(2)}
    with pytest.raises(KeyboardInterrupt):
        supervisor.supervise(tmp_path, SETTINGS, commands, evaluations=5, hours=None, progress=Interrupting())
    printed = [(folder / supervisor.OUTPUT).read_text() for folder in folders_of(tmp_path).values()]
    assert all(gone(int(text)) for text in printed if text)


def test_the_last_island_to_end_is_one(tmp_path: Path) -> None:
    with Recorder(folder_of(tmp_path, 0)), Recorder(folder_of(tmp_path, 1)):
        with last_one(tmp_path, 0) as is_last:
            assert not is_last
        with last_one(tmp_path, None) as is_last:
            assert is_last
    with last_one(tmp_path, 0) as is_last, last_one(tmp_path, 1) as is_other:
        assert (is_last, is_other) == (True, False)
