"""Progress of a search in the output of a notebook's cell. Runs on the driver."""

from __future__ import annotations

import sys
from html import escape
from importlib import import_module
from typing import Any

from menndl_dask.run.progress import Counts, Progress, ProgressLine, progress_line

_INTERVAL_S = 1.0


def usual_progress() -> Progress:
    """Return what shows the progress: in a notebook whose kernel this process is, in its cell; else a line."""
    module = sys.modules.get("IPython")
    shell: Any = module.get_ipython() if module is not None else None
    return NotebookProgress() if hasattr(shell, "kernel") else ProgressLine(sys.stderr)


class NotebookProgress:
    """A bar and a line in the output of a cell, which change in place."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown_at = -_INTERVAL_S

    def show(self, counts: Counts, now: float) -> None:
        """Show the state if it is time to."""
        if now - self._shown_at >= _INTERVAL_S:
            self._shown_at = now
            self._put(progress_html(counts, now))

    def clear(self) -> None:
        """Do no more: the line of a notebook is in the way of no other text."""

    def close(self, counts: Counts, now: float) -> None:
        """Show the last state; what follows, such as the comparison, has a bar of its own below."""
        self._put(progress_html(counts, now))
        self._handle = None

    def _put(self, html: str) -> None:
        shown: Any = import_module("IPython.display")  # there in a notebook, and needed nowhere else
        if self._handle is None:
            self._handle = shown.display(shown.HTML(html), display_id=True)
        else:
            self._handle.update(shown.HTML(html))


def progress_html(counts: Counts, now: float) -> str:
    """Return the state as HTML.

    >>> progress_html(Counts(started=0.0, asked=4, done=1), now=3.0)[:58]
    '<progress max="4" value="1" style="width:20em"></progress>'
    """
    bar = ""
    if counts.asked:
        done = counts.done + counts.elsewhere
        bar = f'<progress max="{counts.asked}" value="{done}" style="width:20em"></progress>'
    return f"{bar}<div>{escape(progress_line(counts, now))}</div>"
