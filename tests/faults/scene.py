"""A scene: the processes of one search under faults. Starts them, finds them, breaks them by number, and ends them all.

All that a scene starts carries its marker in its environment, and so does all that these processes start. They are
found there again (``/proc/*/environ``), whatever their parent is by then.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from menndl_dask.run.run import Run

ROOT = Path(__file__).parents[2]
MARKER = "MENNDL_FAULTS"
LONG = bool(os.environ.get("FAULTS_LONG"))  # set by `make faults`: partitions and slow starts as long as in real life
PATIENCE_S = 240.0 if LONG else 120.0  # without any progress a search counts as hung


_OPEN: set[Scene] = set()


@dataclass(frozen=True, slots=True)
class Mark:
    """A line that an evaluation has written."""

    seconds: float  # since the machine was started
    process: int
    id: int
    what: str  # began, ended


class Scene:
    """One search and the processes around it, in a folder of its own.

    `program` is the module of the driver.

    Parameters
    ----------
    folder
        Where all its files lie; the run is in ``run``.
    evaluations, seconds, workers
        Budget of the search, seconds of an evaluation, and number of workers.
    is_local
        Whether the driver starts its workers itself; else a scheduler and workers of `dask` are started beside it.
    beside
        Another scene whose scheduler and workers this one's drivers use.
    settings
        Further settings of `tests.faults.driver`.
    prefix
        Commands in front of the scheduler's, the workers' and the driver's, such as ``ip netns exec NAME``.
    environment
        Further environment variables of all processes.
    """

    program = "tests.faults.driver"

    def __init__(
        self,
        folder: Path,
        *,
        evaluations: int,
        seconds: float = 0.2,
        workers: int = 2,
        is_local: bool = True,
        beside: Scene | None = None,
        settings: Mapping[str, Any] | None = None,
        prefix: Mapping[str, list[str]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.run = folder / "run"
        self.evaluations = evaluations
        self.workers = workers
        self.is_local = is_local
        self._marks = folder / "marks"
        self._marks.touch()
        self._marker = uuid.uuid4().hex
        self._prefix = dict(prefix or {})
        self._started: list[subprocess.Popen[bytes]] = []
        self.nannies: list[subprocess.Popen[bytes]] = []
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.scheduler_host = "127.0.0.1"
        self.settings = {"evaluations": evaluations, "marks": str(self._marks), "seconds": seconds, **(settings or {})}
        self._scheduler_file = (beside or self).folder / "scheduler.json"
        is_own = is_local and beside is None
        self.settings |= {"workers": workers} if is_own else {"scheduler_file": str(self._scheduler_file)}
        search_path = os.pathsep.join([*filter(None, [(environment or {}).get("PYTHONPATH")]), str(ROOT)])
        self._environment = {
            **os.environ, **(environment or {}), MARKER: self._marker,
            "PYTHONPATH": search_path, "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1", "CUDA_VISIBLE_DEVICES": "-1",
        }  # fmt: skip

    def __enter__(self) -> Self:
        _OPEN.add(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.end()
        _OPEN.discard(self)

    # --- start --------------------------------------------------------------------------------------------------------

    def start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        """Start ``python WORDS`` with the marker; its output goes to ``NAME.txt``."""
        with (self.folder / f"{name}.txt").open("ab") as output:
            process = subprocess.Popen(
                [*self._prefix.get(name, []), sys.executable, *words],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT, env=self._environment,
                start_new_session=True,
            )  # fmt: skip
        self._started.append(process)
        return process

    def start_driver(self, name: str = "driver", **settings: Any) -> subprocess.Popen[bytes]:
        """Start a driver of the run, which carries on if there was one before."""
        self.driver = self.start(name, "-m", self.program, str(self.run), json.dumps({**self.settings, **settings}))
        return self.driver

    def start_scheduler(self) -> None:
        """Start a scheduler beside the driver; workers and drivers find it by its file."""
        self._scheduler_file.unlink(missing_ok=True)
        self.scheduler = self.start(
            "scheduler", "-m", "dask", "scheduler", "--host", self.scheduler_host, "--port", "0", "--no-dashboard",
            "--scheduler-file", str(self._scheduler_file),
        )  # fmt: skip

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start a worker under a nanny beside the driver."""
        nanny = self.start(
            "worker", "-m", "dask", "worker", "--scheduler-file", str(self._scheduler_file),
            "--nthreads", "1", "--no-dashboard", "--memory-limit", "0", "--death-timeout", "120",
            "--local-directory", str(self.folder / "dask"),
        )  # fmt: skip
        self.nannies.append(nanny)
        return nanny

    def replace_ended_workers(self, seconds: float) -> None:
        """For so many seconds, start another worker for each that has ended, as a batch system or its user does."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.driver.poll() is None:
            for nanny in [one for one in self.nannies if one.poll() is not None]:
                self.nannies.remove(nanny)
                self.start_worker()
            time.sleep(0.2)

    def start_all(self) -> None:
        """Start the scheduler and workers if they are not the driver's own, and the driver when they are starting."""
        if not self.is_local:
            self.start_crew()
            self.wait(lambda: len(self.worker_processes()) >= self.workers, what="the workers were started")
        self.start_driver()

    def start_crew(self) -> None:
        """Start a scheduler and workers beside the driver."""
        self.start_scheduler()
        for _ in range(self.workers):
            self.start_worker()

    # --- look ---------------------------------------------------------------------------------------------------------

    def processes(self) -> dict[int, str]:
        """Return the processes of the scene that live, by number, each with its command line."""
        wanted = f"{MARKER}={self._marker}".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if wanted not in (folder / "environ").read_bytes().split(b"\0"):
                    continue
                if (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    continue
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has just ended
        return found

    def worker_processes(self) -> list[int]:
        """Return the numbers of the processes that evaluate: those that nannies have started."""
        return [pid for pid, command in self.processes().items() if "spawn_main" in command]

    def trainers(self) -> list[int]:
        """Return the numbers of the trainers."""
        return [pid for pid in self._of_trainers() if _parent(pid) not in self._of_trainers()]

    def trainings(self) -> list[int]:
        """Return the numbers of the processes that train."""
        return [pid for pid in self._of_trainers() if _parent(pid) in self._of_trainers()]

    def marks(self) -> list[Mark]:
        """Return what the evaluations have written so far."""
        lines = (line.split() for line in self._marks.read_text().splitlines() if line.count(" ") == 3)
        return [Mark(float(seconds), int(process), int(number), what) for seconds, process, number, what in lines]

    def told(self) -> int:
        """Return how many results the journal has."""
        file = self.run / "journal.jsonl"
        try:
            return file.read_bytes().count(b'{"event":"told"')
        except OSError:
            return 0

    def said(self, name: str = "driver") -> str:
        """Return what a process has printed."""
        return (self.folder / f"{name}.txt").read_text(errors="replace")

    def notes(self) -> str:
        """Return the notes of the run, in one text."""
        return " | ".join(str(note["message"]) for note in Run(self.run).notes)

    # --- wait ---------------------------------------------------------------------------------------------------------

    def wait(self, condition: Callable[[], object], seconds: float = PATIENCE_S, what: str = "") -> None:
        """Wait until something is so.

        Raises
        ------
        AssertionError
            If that takes too long; the message has the last words of all processes.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what or 'it'} was not so within {seconds:g} s\n{self.last_words()}"
            time.sleep(0.05)

    def wait_for_results(self, more: int) -> None:
        """Wait until the journal has some more results."""
        wanted = self.told() + more
        self.wait(lambda: self.told() >= wanted, what=f"{more} more results")

    def wait_for_crew(self, since: float, seconds: float = PATIENCE_S) -> float:
        """Wait until all workers have begun an evaluation after a moment; return the seconds from then."""
        reached = None
        deadline = time.monotonic() + seconds
        while reached is None:
            assert time.monotonic() < deadline, f"the crew was not back within {seconds:g} s\n{self.last_words()}"
            time.sleep(0.05)
            reached = self.crew_since(since)
        return reached

    def crew_since(self, since: float) -> float | None:
        """Return after how many seconds all workers had begun an evaluation; None if they have not yet."""
        seen: set[int] = set()
        for one in self.marks():
            if one.what == "began" and one.seconds > since:
                seen.add(one.process)
                if len(seen) >= self.workers and len(seen & set(self.processes())) >= self.workers:
                    return one.seconds - since
        return None

    def wait_for_end(self, seconds: float = 2 * PATIENCE_S) -> int:
        """Wait until the driver has ended; return its exit code."""
        self.wait(lambda: self.driver.poll() is not None, seconds, "the driver had ended")
        return int(self.driver.returncode)

    def wait_until_alone(self, seconds: float = 120.0) -> list[str]:
        """Wait until the driver's processes have ended too; return the command lines of those that have not."""
        deadline = time.monotonic() + seconds
        beside = {process.pid for process in (*self.nannies, self.scheduler) if process is not None}
        while True:
            left = {pid: command for pid, command in self.processes().items() if not _is_below(pid, beside)}
            if not left or time.monotonic() > deadline:
                return [f"{pid}: {command}" for pid, command in left.items()]
            time.sleep(0.1)

    def last_words(self) -> str:
        """Return the ends of the outputs of all processes."""
        files = sorted(self.folder.glob("*.txt"))
        living = "\n".join(f"{pid} {command[:120]}" for pid, command in self.processes().items())
        return "\n".join([*(f"--- {file.name}\n{file.read_text(errors='replace')[-2000:]}" for file in files), living])

    # --- end ----------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """End all processes of the scene at once, those that are stopped too."""
        while living := self.processes():
            for pid in living:
                send(pid, signal.SIGKILL)
            for process in self._started:
                process.poll()
            time.sleep(0.02)
        for process in self._started:
            process.wait()

    def _of_trainers(self) -> set[int]:
        return {pid for pid, command in self.processes().items() if "menndl_dask.evaluation.trainer" in command}


def end_on_signals() -> None:
    """End the processes of all open scenes, and then this one, when it is asked to end: they would live on."""

    def end(number: int, frame: object) -> None:
        for scene in list(_OPEN):
            scene.end()
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def send(pid: int, number: int) -> bool:
    """Send a signal to a process; return whether it was still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _is_below(pid: int, ancestors: set[int]) -> bool:
    while pid > 1:
        if pid in ancestors:
            return True
        pid = _parent(pid)
    return False
