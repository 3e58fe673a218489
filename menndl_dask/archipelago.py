"""The archipelago: a driver for each island of a run, as processes of this machine. Runs on the driver.

Whoever starts them looks after them. Each is its own session and prints to ``driver.txt`` in its island's directory.
They end with whoever started them; when one of them ends before its time the others go on, and it is started again
unless it would only die again.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from menndl_dask import stop
from menndl_dask.child import ended, kill_group, tie_to
from menndl_dask.errors import FINISHED, ExitCode, RunError
from menndl_dask.island import IslandStatus, folder_of, folders_of
from menndl_dask.journal import holder
from menndl_dask.migration import prepare_run
from menndl_dask.pace import Throttle
from menndl_dask.progress import Counts, Progress
from menndl_dask.settings import Settings
from menndl_dask.store import Recorder, Run
from menndl_dask.words import stopped_by

OUTPUT = "driver.txt"
_SUPERVISOR = "MENNDL_SUPERVISOR"  # process number of whoever looks after the drivers, in their environment
_POLL_S = 0.2
_HELD_S = 20.0  # that an island's earlier driver may take to end when whoever looked after it has died
_PATIENCE_S = 60.0  # for drivers that were told to end
_BARREN = 3  # deaths of an island's driver without a result in between, after which it is left alone
_SHORT_S = 60.0  # a driver without a result that dies sooner has been started with a mistake
_PAUSE_S = 2.0  # before a driver is started again


@dataclass(frozen=True, slots=True)
class Command:
    """How an island's driver is started: its words, and variables that are set, or removed where they are nothing."""

    words: Sequence[str]
    environment: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Driver:
    island: int
    command: Command
    output: Path
    process: subprocess.Popen[bytes]
    started: float  # clock reading
    told: int  # results at home when it was started
    failures_in_a_row: int = 0  # deaths in a row without a result before it
    is_sound: bool = False  # whether an earlier one brought a result home

    def death(self, run: Path, now: float) -> _Driver:
        """Return what is known of the island's driver now that it has died before its time."""
        news = IslandStatus.read(folder_of(run, self.island))
        told = 0 if news is None else news.told
        brought = told > self.told
        is_sound = self.is_sound or brought or now - self.started >= _SHORT_S
        failures = 0 if brought else self.failures_in_a_row + 1
        return replace(self, told=told, failures_in_a_row=failures, is_sound=is_sound)

    @property
    def is_hopeless(self) -> bool:
        """Whether another driver would only die again."""
        return not self.is_sound or self.failures_in_a_row >= _BARREN

    def last_words(self) -> str:
        """Return the last line that it printed."""
        lines = self.output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def is_supervised() -> bool:
    """Return whether this process is a driver that `search` looks after; from then on it ends with that one."""
    supervisor = os.environ.get(_SUPERVISOR)
    if supervisor is None:
        return False
    tie_to(int(supervisor), signal.SIGTERM)
    return True


def search(
    run: Path,
    settings: Settings,
    commands: Mapping[int, Command],
    *,
    evaluations: int | None,
    hours: float | None,
    progress: Progress | None = None,
    on_change: Callable[[Run], object] | None = None,
) -> str | None:
    """Run a driver for each island until all have ended; return why the run stopped before its budget was spent.

    Parameters
    ----------
    run
        The directory of the whole run.
    settings
        What is searched for, as `frozen_settings` returns it.
    commands
        For each island the command of its driver.
    evaluations, hours
        The budget, as the drivers know it.
    progress, on_change
        As for `Search.run`, but with the run of all islands.

    Raises
    ------
    RunError
        If another one looks after the run's islands, the run is for another search, or no driver came to its end.
    """
    prepare_run(run, 0, settings)
    with Recorder(run) as recorder:
        if evaluations is not None and _done(run) >= evaluations:
            return None
        stop.begin(run)
        typed = {key: settings[key] for key in ("command", "arguments") if key in settings}
        recorder.started(evaluations=evaluations, hours=hours, **typed)
        drivers: list[_Driver] = []
        try:
            for island, command in commands.items():
                drivers.append(_started(run, island, command))
            _watch(run, recorder, drivers, Counts(time.monotonic(), evaluations), progress, on_change)
        except KeyboardInterrupt as end:
            recorder.note(stopped_by(end))
            raise
        finally:
            _end([driver for driver in drivers if driver.process.poll() is None])
            recorder.ended()
    return _outcome(run, drivers, evaluations)


@contextmanager
def last_one(run: Path, island: int | None) -> Iterator[bool]:
    """Tell whether no other island's driver is running, nor has another one found that it is the last one.

    A search without islands is the last one.
    """
    if island is None:
        yield True
        return
    with (run / "islands" / ".last").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield not any(holder(folder) for number, folder in folders_of(run).items() if number != island)


def _started(run: Path, island: int, command: Command) -> _Driver:
    folder = folder_of(run, island)
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _HELD_S
    while (held := holder(folder)) is not None:
        if time.monotonic() > deadline:
            raise RunError(f"{folder}: held by another driver ({held}); one at a time")
        time.sleep(_POLL_S)
    output = folder / OUTPUT
    own = {_SUPERVISOR: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
    environment = {**os.environ, **command.environment, **own}
    news = IslandStatus.read(folder)  # before it is started, or what it brings home at once would not count as its own
    with output.open("ab") as file:
        process = subprocess.Popen(
            command.words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in environment.items() if value is not None},
            start_new_session=True,  # Ctrl-C is the supervisor's to handle
        )
    return _Driver(island, command, output, process, time.monotonic(), 0 if news is None else news.told)


def _watch(
    run: Path,
    recorder: Recorder,
    drivers: list[_Driver],
    counts: Counts,
    progress: Progress | None,
    on_change: Callable[[Run], object] | None,
) -> None:
    """Show how far the islands are until all drivers have ended; start those again that end before their time."""
    running = list(drivers)
    due: dict[int, float] = {}  # when an island's driver is started again
    report = Throttle(on_change, run)
    while running or due:
        time.sleep(_POLL_S)
        now = time.monotonic()
        if stop.is_asked(run):
            due.clear()
            _pass_on(run, running)
        _count(run, {driver.island for driver in running}, counts, now)
        if progress is not None:
            progress.show(counts, now)
        for driver in [driver for driver in running if driver.process.poll() is not None]:
            running.remove(driver)
            if driver.process.returncode not in (*FINISHED, ExitCode.STOPPED):
                drivers[drivers.index(driver)] = dead = driver.death(run, now)
                if _mourn(run, recorder, dead, counts, are_others=bool(running or due)):
                    due[dead.island] = now + _PAUSE_S
        for island in [island for island, at in due.items() if now >= at]:
            del due[island]
            running += _started_again(run, recorder, drivers, island)
        if counts.done:
            report(now)
    if progress is not None:
        progress.close(counts, time.monotonic())


def _mourn(run: Path, recorder: Recorder, dead: _Driver, counts: Counts, *, are_others: bool) -> bool:
    """Note that a driver has ended before its time; return whether it is to be started again."""
    kill_group(dead.process.pid)  # its workers, which would hold their GPUs for a while
    is_over = stop.is_asked(run) or (counts.asked is not None and counts.done >= counts.asked)
    is_wanted = not (is_over or dead.is_hopeless)
    told = f"its driver {ended(dead.process.returncode)} ({dead.last_words()})"
    follows = "it is started again" if is_wanted else "the others go on" if are_others else "it was the last"
    if dead.is_hopeless and dead.is_sound:
        follows = f"{dead.failures_in_a_row} in a row died without a result, so it is not started again; {follows}"
    recorder.note(f"island {dead.island}: {told}; {follows}")
    return is_wanted


def _started_again(run: Path, recorder: Recorder, drivers: list[_Driver], island: int) -> list[_Driver]:
    """Start an island's driver again; return it, if it could be started."""
    place = next(number for number, driver in enumerate(drivers) if driver.island == island)
    dead = drivers[place]
    try:
        born = _started(run, island, dead.command)
    except (RunError, OSError) as error:  # somebody else drives it, or the machine has no room
        recorder.note(f"island {island}: its driver cannot be started again: {error}")
        return []
    drivers[place] = replace(born, failures_in_a_row=dead.failures_in_a_row, is_sound=dead.is_sound)
    return [drivers[place]]


def _pass_on(run: Path, drivers: Sequence[_Driver]) -> None:
    """Ask drivers to stop that are there; one that is only starting would forget it, and is asked later."""
    for folder in (folder_of(run, driver.island) for driver in drivers):
        if holder(folder) is not None and not stop.is_asked(folder):
            stop.ask(folder, "whoever looks after the islands")


def _count(run: Path, running: Collection[int], counts: Counts, now: float) -> None:
    """Bring the counts to what the islands tell."""
    islands = {island: IslandStatus.read(folder) for island, folder in folders_of(run).items()}
    told = [news for news in islands.values() if news is not None]
    done = sum(news.told for news in told)
    counts.arrivals.extend([now] * (done - counts.done if counts.workers is not None else 0))
    counts.done = done
    counts.workers = sum(news.workers for island, news in islands.items() if news is not None and island in running)
    counts.failures = sum((Counter(news.failures) for news in told), Counter())
    for news in told:
        if news.best is not None and (counts.best is None or news.best > counts.best):
            counts.best, counts.best_id = news.best, news.best_id


def _end(drivers: Sequence[_Driver]) -> None:
    """End drivers in order; by force when they do not follow, or whoever waits is told to hurry."""
    try:
        for driver in drivers:
            driver.process.terminate()
        deadline = time.monotonic() + _PATIENCE_S
        for driver in drivers:
            with suppress(subprocess.TimeoutExpired):
                driver.process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for driver in drivers:
            if driver.process.poll() is None:
                kill_group(driver.process.pid)
                driver.process.wait()


def _outcome(run: Path, drivers: Sequence[_Driver], evaluations: int | None) -> str | None:
    """Return why the run stopped early; nothing where its budget is spent, whoever has spent it."""
    statuses = [driver.process.returncode for driver in drivers]
    if not any(status in (*FINISHED, ExitCode.STOPPED) for status in statuses):
        first = drivers[0]
        told = f"the driver of island {first.island} {ended(statuses[0])}: {first.last_words()}"
        raise RunError(f"{run}: no driver came to its end; {told}; see {first.output}")
    is_spent = evaluations is not None and _done(run) >= evaluations
    return "asked to stop" if ExitCode.STOPPED in statuses and not is_spent else None


def _done(run: Path) -> int:
    return sum(1 for _ in Run(run).evaluations)
