"""Following a run: one line that changes with it, until it ends. Runs anywhere that reads the run directory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TextIO

from menndl_dask.cli.following.run_state import RunState, sparkline
from menndl_dask.run.progress import ProgressLine
from menndl_dask.terminal import say
from menndl_dask.text import duration

_EACH_S = 2.0
_SHARE = 20.0  # times as long as it takes to read a run, until it is read again


def follow(path: Path, stream: TextIO) -> None:
    """Show how far a run is until it is done or no longer driven, or until Ctrl-C.

    Raises
    ------
    RunError
        If there is no run.
    """
    state = RunState.read(path)
    if tunnel := state.tunnel():
        page = f"{state.dashboard.rpartition('/')[0]}/menndl"
        say(f"live page: {page} on {state.host}; from your machine: {tunnel}")
    line, took = ProgressLine(stream), 0.0
    while state.driver is not None:
        line.show(state.counts, state.at, sparkline(state.bests))
        time.sleep(max(_EACH_S, _SHARE * took))
        begun = time.monotonic()
        state = RunState.read(path)
        took = time.monotonic() - begun
    line.close(state.counts, state.last_at or state.at, sparkline(state.bests))
    end = "its search is done" if state.is_done else f"no driver runs; see menndl status {path}"
    ago = "" if state.last_at is None else f"; the last result came {duration(max(0.0, state.at - state.last_at))} ago"
    say(f"{path}: {end}{ago}")
