"""The live progress line in the terminal. Runs on the driver."""

from __future__ import annotations

import shutil
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from menndl_dask.genome.individual import Individual
from menndl_dask.result import Result
from menndl_dask.terminal import share_bar, styled
from menndl_dask.text import counted, duration, printable

_RECENT = 64  # results that the rate is measured over
_BRIEFEST = 6
_LONG_S = 60.0  # without a worker, from which on the line says how long
_STYLES = ((r"best [^ ]+", "green"), (r"\d+ failed[^·]*|no workers", "red"))
_STOPPED = "pruned"  # failure of a network that was stopped at a rung


@dataclass(slots=True)
class Counts:
    """The progress of a run: counts of results and failures. Its size does not grow with the number of evaluations."""

    started: float  # monotonic clock in seconds when this driver started
    asked: int | None = None  # budget in evaluations, earlier drivers included; None if only the time is limited
    deadline: float | None = None  # monotonic clock at which the run ends; None if only the evaluations are limited
    done: int = 0
    workers: int | None = None
    no_workers_since: float | None = None  # monotonic clock
    best: float | None = None
    best_id: int | None = None
    failures: Counter[str] = field(default_factory=Counter)
    completed_at: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    elsewhere: int = 0  # results on the run's other islands
    phase: str = "search"  # what is counted: evaluations of a search, or trainings of a comparison

    def add(self, individual: Individual, result: Result, now: float | None = None) -> None:
        """Count a result; `now` is the monotonic clock, or None for a result of an earlier driver."""
        self.done += 1
        if now is not None:
            self.completed_at.append(now)
        if result.failure is not None:
            self.failures[result.failure] += 1
        elif self.best is None or (result.fitness is not None and result.fitness > self.best):
            self.best, self.best_id = result.fitness, individual.id

    @property
    def stopped(self) -> int:
        """Number of networks that were stopped at a rung because others were better."""
        return self.failures[_STOPPED]

    @property
    def failed(self) -> Counter[str]:
        """Number of failures of each other kind."""
        return Counter({kind: count for kind, count in self.failures.items() if kind != _STOPPED})

    def share(self, now: float) -> float | None:
        """Return the share of the budget that is spent, by evaluations or by time; None if neither is limited."""
        shares = [(self.done + self.elsewhere) / self.asked] if self.asked else []
        if self.deadline is not None and self.deadline > self.started:
            shares.append((now - self.started) / (self.deadline - self.started))
        return min(1.0, max(shares)) if shares else None

    def per_hour(self, now: float) -> float | None:
        """Return the networks per hour over the last results; None before the first."""
        if not self.completed_at:
            return None
        is_full = len(self.completed_at) == _RECENT
        first = self.completed_at[0] if is_full else self.started
        return 3600.0 * (len(self.completed_at) - is_full) / max(now - first, 1e-3)

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until the asked evaluations or the deadline, whichever comes first; None if unknown."""
        estimates = [] if self.deadline is None else [max(0.0, self.deadline - now)]
        rate = self.per_hour(now)
        if self.asked is not None and rate:
            here = self.done / (self.done + self.elsewhere)
            estimates.append(max(0, self.asked - self.done - self.elsewhere) * here * 3600.0 / rate)
        return min(estimates) if estimates else None


def progress_line(counts: Counts, now: float, width: int | None = None) -> str:
    """Return one line that says how far the run is and how it goes.

    In a `width` that is too small for all of it, less is said of failures and workers, but rate and time left stay.

    >>> counts = Counts(started=0.0, asked=24)
    >>> progress_line(counts, now=3.0)
    'menndl 0/24 evaluations · no result yet · 3.0 s'
    """
    line = ""
    for brevity in range(_BRIEFEST + 1):
        line = " · ".join(_parts(counts, now, brevity))
        if width is None or len(line) <= width:
            break
    return line


def _parts(counts: Counts, now: float, brevity: int) -> list[str]:
    """Return the parts of the line, shorter ones and fewer of them where more brevity is asked for."""
    is_search, unit = counts.phase == "search", ""
    if brevity < 2:
        unit = " evaluations" if is_search else " trainings"
    done = counts.done + counts.elsewhere
    here = f", {counts.done} of them here" if counts.elsewhere and brevity < 2 else ""
    name = "" if brevity >= 6 else "menndl " if is_search else f"menndl {counts.phase}: "
    parts = [f"{name}{done}/{counts.asked}{unit}{here}" if counts.asked is not None else f"{name}{done}{unit}{here}"]
    if is_search:  # the table that follows a comparison says which is the best
        parts.append(_best(counts, brevity))
    if brevity < 4:
        parts += _failures(counts, brevity)
    if counts.workers and brevity < 5:
        parts.append(counted(counts.workers, "worker"))
    elif counts.workers is not None and not counts.workers:
        waited = now - counts.no_workers_since if counts.no_workers_since is not None else 0.0
        parts.append("no workers" + (f" for {duration(waited)}" if waited >= _LONG_S else ""))
    rate, left = counts.per_hour(now), counts.seconds_left(now)
    if rate is not None:
        networks = " networks/h" if brevity < 2 else "/h"
        parts.append(f"{rate:.0f}{networks}" if rate >= 10 else f"{rate:.1f}{networks}")
    parts.append(f"{duration(left)} left" if left is not None else duration(now - counts.started))
    return parts


def _best(counts: Counts, brevity: int) -> str:
    if counts.best is None:
        return "no network has learnt yet" if counts.done else "no result yet"
    return f"best {counts.best:.4f}" + (f" (network {counts.best_id})" if brevity < 3 else "")


def _failures(counts: Counts, brevity: int) -> list[str]:
    parts = [f"{counts.stopped} stopped early"] if counts.stopped else []
    if counts.failed:
        kinds = ", ".join(f"{kind} {count}" for kind, count in counts.failed.most_common())
        parts.append(f"{counts.failed.total()} failed" + (f": {kinds}" if brevity < 1 else ""))
    return parts


def progress_bar(counts: Counts) -> str:
    """Return the completed share as a bar; empty if the number of evaluations is not limited.

    >>> progress_bar(Counts(started=0.0, asked=4, done=1))
    '━━━━━╺──────────────'
    """
    return share_bar((counts.done + counts.elsewhere) / counts.asked) if counts.asked else ""


class Progress(Protocol):
    """What shows how far a search is, such as `ProgressLine`."""

    def show(self, counts: Counts, now: float) -> None:
        """Show the state if it is time to."""
        ...

    def close(self, counts: Counts, now: float) -> None:
        """Show the last state."""
        ...

    def clear(self) -> None:
        """Remove what would be in the way of other text."""
        ...


class ProgressLine:
    """Writes the progress: one updating line on a terminal, else a line every `interval_s` seconds."""

    def __init__(self, stream: TextIO, interval_s: float = 30.0) -> None:
        self._stream = stream
        self._interval = interval_s if not stream.isatty() else 0.2
        self._live = stream.isatty()
        self._last: tuple[float, str] | None = None

    def show(self, counts: Counts, now: float, more: str = "") -> None:
        """Write the line if it is time to, with `more` in place of the bar of a terminal."""
        if self._last is None or now - self._last[0] >= self._interval:
            self._write(counts, now, more)

    def clear(self) -> None:
        """Remove the line from a terminal, where other text is to be written."""
        if self._live:
            self._put("\r\x1b[K")

    def close(self, counts: Counts, now: float, more: str = "") -> None:
        """Write the last state and end the line."""
        if self._last is None or self._last[1] != progress_line(counts, now):
            self._write(counts, now, more)
        if self._live:
            self._put("\n")

    def say(self, text: str) -> None:
        """Write another line; on a terminal the updating line follows it."""
        self._put(("\r" if self._live else "") + printable(text, one_line=True) + ("\x1b[K\n" if self._live else "\n"))

    def _write(self, counts: Counts, now: float, more: str) -> None:
        text = progress_line(counts, now)
        self._last = (now, text)
        if not self._live:
            self._put(printable(f"{more} {text}".lstrip(), one_line=True) + "\n")
            return
        # \x1b[K clears what a longer line has left; a line that wraps could not be overwritten
        text = progress_line(counts, now, shutil.get_terminal_size().columns - 1)
        self._put("\r" + styled(self._stream, text, more or progress_bar(counts), _STYLES) + "\x1b[K")

    def _put(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()
