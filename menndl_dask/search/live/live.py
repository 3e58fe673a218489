"""The live page of a search: sends its state and its report to the scheduler, which shows them. Runs on the driver.

The state is some numbers, sent once a second. The report is sent when it was written anew, which is seldom enough to
take at most two percent of the time; see `menndl_dask.search.throttle`.
"""

from __future__ import annotations

import time
from pathlib import Path

from distributed import Client

from menndl_dask.cluster.live_tab import KEY
from menndl_dask.run.layout import name_of
from menndl_dask.run.progress import Counts, Progress, progress_line
from menndl_dask.search.scheduler_link import SchedulerLink

_EACH_S = 1.0
_LARGEST = 2**24  # bytes of a report that is sent


class LivePage:
    """Shows the progress of a run at ``/menndl`` of the scheduler, and beside that in another way, such as a line.

    Parameters
    ----------
    client
        Client of the cluster.
    run
        The run directory.
    beside
        Another progress that is shown too.
    """

    def __init__(self, client: Client, run: Path, beside: Progress) -> None:
        self._link = SchedulerLink(client)
        self._title = name_of(run.resolve())
        self._beside = beside
        self._shown_at = -_EACH_S

    def show(self, counts: Counts, now: float) -> None:
        """Send the state if a second has passed."""
        self._beside.show(counts, now)
        if now - self._shown_at >= _EACH_S:
            self._send(counts, now)

    def close(self, counts: Counts, now: float) -> None:
        """Send the last state."""
        self._beside.close(counts, now)
        self._send(counts, now)

    def clear(self) -> None:
        """Let other text be written to the terminal."""
        self._beside.clear()

    def show_report(self, path: Path) -> None:
        """Send a report that was written."""
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= _LARGEST else f"See {path}: it is large."
        if self._link.put((KEY, "report"), text):
            self._link.put((KEY, "version"), f"{time.time()}")

    def _send(self, counts: Counts, now: float) -> None:
        self._shown_at = now
        line = progress_line(counts, now).removeprefix("menndl ")
        done = counts.share(now)
        state = {"title": self._title, "phase": counts.phase, "line": line}
        self._link.put((KEY, "state"), state if done is None else {**state, "done": done})
