"""The supervisor of islands: a driver for each island of a run, as processes of this machine. Runs on the driver.

Each driver is its own session and prints into ``driver.txt`` in its island's directory. The drivers end with the
supervisor. A driver that ends early is started again, unless it would only end early again; the others go on meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from menndl_dask import files
from menndl_dask.errors import FINISHED, ExitCode, RunError
from menndl_dask.evaluation.child_process import die_with_parent, ended, kill_group
from menndl_dask.run import stop_request
from menndl_dask.run.forecast.forecast import CostForecast
from menndl_dask.run.journal import holder
from menndl_dask.run.layout import folder_of, folders_of
from menndl_dask.run.progress import Counts, Progress
from menndl_dask.run.recorder import Recorder
from menndl_dask.run.run import Run
from menndl_dask.run.settings import Settings
from menndl_dask.search.islands.migration import prepare_run
from menndl_dask.search.islands.status import IslandStatus
from menndl_dask.search.throttle import Throttle
from menndl_dask.text import stopped_by

OUTPUT = "driver.txt"
_SUPERVISOR = "MENNDL_SUPERVISOR"  # environment variable of the drivers: process number of their supervisor
_POLL_S = 0.2
_HELD_S = 20.0  # how long an island's earlier driver may take to end after its supervisor died
_PATIENCE_S = 60.0  # for drivers that were told to end
_MAX_FAILURES = 3  # in a row without a result, after which an island's driver is not started again
_SHORT_S = 60.0  # a driver that ends sooner, without a result, was started with a mistake
_PAUSE_S = 2.0  # before a driver is started again


@dataclass(frozen=True, slots=True)
class Command:
    """How to start an island's driver: a command line and environment variables; those that are None are removed."""

    words: Sequence[str]
    environment: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(slots=True)
class _IslandDriver:
    island: int
    command: Command
    output: Path
    process: subprocess.Popen[bytes]
    started: float  # monotonic clock
    results: int  # of the island when the driver was started
    failures_in_a_row: int = 0  # earlier drivers that ended early without a result
    is_sound: bool = False  # whether an earlier driver got a result

    def after_failure(self, run: Path, now: float) -> _IslandDriver:
        """Return the record of this driver with its early end counted."""
        status = IslandStatus.read(folder_of(run, self.island))
        results = 0 if status is None else status.results
        has_result = results > self.results
        failures = 0 if has_result else self.failures_in_a_row + 1
        is_sound = self.is_sound or has_result or now - self.started >= _SHORT_S
        return replace(self, results=results, failures_in_a_row=failures, is_sound=is_sound)

    @property
    def would_fail_again(self) -> bool:
        """Whether another driver would only end early again."""
        return not self.is_sound or self.failures_in_a_row >= _MAX_FAILURES

    def last_line(self) -> str:
        """Return the last line of its output."""
        with os.fdopen(files.open_regular(self.output), encoding="utf-8", errors="replace") as file:
            lines = file.read().strip().splitlines()
        return lines[-1] if lines else "no output"


def is_supervised() -> bool:
    """Return whether this process is a driver with a supervisor; if so, it ends when its supervisor does."""
    supervisor = os.environ.get(_SUPERVISOR)
    if supervisor is None:
        return False
    die_with_parent(int(supervisor), signal.SIGTERM)
    return True


def supervise(
    run: Path,
    settings: Settings,
    commands: Mapping[int, Command],
    *,
    evaluations: int | None,
    hours: float | None,
    progress: Progress | None = None,
    on_change: Callable[[Run], object] | None = None,
    forecast: CostForecast | None = None,
) -> str | None:
    """Run a driver for each island until all have ended.

    Parameters
    ----------
    run, settings
        The directory of the run with all islands, and the settings of the search, as `frozen_settings` returns them.
    commands
        For each island the command of its driver.
    evaluations, hours
        The budget, as the drivers know it.
    progress, on_change
        As for `Search.run`, but for the run with all islands.
    forecast
        What the search is expected to cost, to be recorded.

    Returns
    -------
    str or None
        Why the run stopped before its budget was spent. None if it did not.

    Raises
    ------
    RunError
        If the run has another supervisor, holds another search, or all drivers ended early.
    """
    prepare_run(run, 0, settings)
    with Recorder(run) as recorder:
        if evaluations is not None and _done(run) >= evaluations:
            return None
        stop_request.begin(run)
        typed = {key: settings[key] for key in ("command", "arguments", "signed") if key in settings}
        recorder.started(evaluations=evaluations, hours=hours, **typed)
        if forecast is not None:
            recorder.forecast(forecast.to_dict())
        supervisor = _Supervisor(run, recorder, Counts(time.monotonic(), evaluations))
        try:
            for island, command in commands.items():
                supervisor.drivers[island] = _start_driver(run, island, command)
            supervisor.watch(progress, Throttle(on_change, run))
        except KeyboardInterrupt as end:
            recorder.note(stopped_by(end))
            raise
        finally:
            _end([driver for driver in supervisor.drivers.values() if driver.process.poll() is None])
            recorder.ended()
    return _outcome(run, list(supervisor.drivers.values()), evaluations)


class _Supervisor:
    """Watches the drivers of a run's islands."""

    def __init__(self, run: Path, recorder: Recorder, counts: Counts) -> None:
        self._run = run
        self._recorder = recorder
        self._counts = counts
        self._running: set[int] = set()
        self._restart_at: dict[int, float] = {}
        self.drivers: dict[int, _IslandDriver] = {}  # the latest of each island

    def watch(self, progress: Progress | None, report: Throttle) -> None:
        """Show the progress until all drivers have ended; start those again that end early."""
        self._running = set(self.drivers)
        while self._running or self._restart_at:
            time.sleep(_POLL_S)
            now = time.monotonic()
            if stop_request.is_asked(self._run):
                self._restart_at.clear()
                self._ask_to_stop()
            self._update_counts(now)
            if progress is not None:
                progress.show(self._counts, now)
            for island in [i for i in self._running if self.drivers[i].process.poll() is not None]:
                self._running.remove(island)
                if self.drivers[island].process.returncode not in (*FINISHED, ExitCode.STOPPED):
                    self._record_failure(island, now)
            for island in [island for island, at in self._restart_at.items() if now >= at]:
                del self._restart_at[island]
                self._restart(island)
            if self._counts.done:
                report(now)
        if progress is not None:
            progress.close(self._counts, time.monotonic())

    def _record_failure(self, island: int, now: float) -> None:
        """Note that a driver has ended early, and plan its restart if that makes sense."""
        self.drivers[island] = failed = self.drivers[island].after_failure(self._run, now)
        kill_group(failed.process.pid)  # its workers, which would hold their GPUs for a while
        is_over = stop_request.is_asked(self._run) or (
            self._counts.asked is not None and self._counts.done >= self._counts.asked
        )
        follows = "the others go on" if self._running or self._restart_at else "it was the last"
        if not (is_over or failed.would_fail_again):
            self._restart_at[island] = now + _PAUSE_S
            follows = "it is started again"
        elif failed.would_fail_again and failed.is_sound:
            count = failed.failures_in_a_row
            follows = f"{count} in a row died without a result, so it is not started again; {follows}"
        why = f"its driver {ended(failed.process.returncode)} ({failed.last_line()})"
        self._recorder.note(f"island {island}: {why}; {follows}")

    def _restart(self, island: int) -> None:
        failed = self.drivers[island]
        try:
            started = _start_driver(self._run, island, failed.command)
        except (RunError, OSError) as error:  # another driver holds the island, or the machine has no memory left
            self._recorder.note(f"island {island}: its driver cannot be started again: {error}")
            return
        self.drivers[island] = replace(
            started, failures_in_a_row=failed.failures_in_a_row, is_sound=failed.is_sound
        )
        self._running.add(island)

    def _ask_to_stop(self) -> None:
        """Ask the running drivers to stop; one that is only starting would forget it, and is asked later."""
        for folder in (folder_of(self._run, island) for island in self._running):
            if holder(folder) is not None and not stop_request.is_asked(folder):
                stop_request.ask(folder, "the supervisor of the islands")

    def _update_counts(self, now: float) -> None:
        """Set the progress of the run from the status of its islands."""
        counts = self._counts
        islands = {island: IslandStatus.read(folder) for island, folder in folders_of(self._run).items()}
        known = {island: status for island, status in islands.items() if status is not None}
        done = sum(status.results for status in known.values())
        counts.completed_at.extend([now] * (done - counts.done if counts.workers is not None else 0))
        counts.done = done
        counts.workers = sum(status.workers for island, status in known.items() if island in self._running)
        counts.failures = sum((Counter(status.failures) for status in known.values()), Counter())
        for status in known.values():
            if status.best is not None and (counts.best is None or status.best > counts.best):
                counts.best, counts.best_id = status.best, status.best_id


@contextmanager
def last_one(run: Path, island: int | None) -> Iterator[bool]:
    """Yield whether this driver is the last one of the run: no other is running or has found that it is the last.

    The driver of a search without islands is the last one.
    """
    if island is None:
        yield True
        return
    last = run / "islands" / ".last"
    with os.fdopen(files.open_regular(last, os.O_RDWR | os.O_CREAT, root=run), "rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield not any(holder(folder) for number, folder in folders_of(run).items() if number != island)


def _start_driver(run: Path, island: int, command: Command) -> _IslandDriver:
    folder = folder_of(run, island)
    output = folder / OUTPUT
    os.close(_opened(output, run))
    deadline = time.monotonic() + _HELD_S
    while (held := holder(folder)) is not None:
        if time.monotonic() > deadline:
            raise RunError(f"{folder}: held by another driver ({held}); one at a time")
        time.sleep(_POLL_S)
    own = {_SUPERVISOR: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
    environment = {**os.environ, **command.environment, **own}
    status = IslandStatus.read(folder)  # before the start, so that the driver's first results count as its own
    with os.fdopen(_opened(output, run), "ab") as file:
        process = subprocess.Popen(
            command.words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in environment.items() if value is not None},
            start_new_session=True,  # Ctrl-C is the supervisor's to handle
        )
    return _IslandDriver(island, command, output, process, time.monotonic(), 0 if status is None else status.results)


def _opened(output: Path, run: Path) -> int:
    """Return the file for the output of an island's driver, made with its folder if it does not exist."""
    try:
        files.new_folder(output.parent)
        return files.open_regular(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, root=run)
    except OSError as error:
        raise RunError(f"{output}: cannot be written: {error.strerror}") from error


def _end(drivers: Sequence[_IslandDriver]) -> None:
    """Terminate drivers, and kill those that do not end in time, or all of them at a second Ctrl-C."""
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


def _outcome(run: Path, drivers: Sequence[_IslandDriver], evaluations: int | None) -> str | None:
    """Return why the run stopped early; None if its budget is spent."""
    statuses = [driver.process.returncode for driver in drivers]
    if not any(status in (*FINISHED, ExitCode.STOPPED) for status in statuses):
        first = drivers[0]
        why = f"the driver of island {first.island} {ended(statuses[0])}: {first.last_line()}"
        raise RunError(f"{run}: no driver came to its end; {why}; see {first.output}")
    is_spent = evaluations is not None and _done(run) >= evaluations
    return "asked to stop" if ExitCode.STOPPED in statuses and not is_spent else None


def _done(run: Path) -> int:
    return sum(1 for _ in Run(run).evaluations)
