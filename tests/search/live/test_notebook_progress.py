"""Progress in a notebook: a bar that changes in place, one for the search and one for the comparison."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from menndl_dask.run.progress import Counts, ProgressLine
from menndl_dask.search.live.notebook_progress import NotebookProgress, usual_progress


class Shown:
    """What a notebook shows: as `IPython.display`."""

    def __init__(self) -> None:
        self.outputs: list[str] = []

    def HTML(self, text: str) -> str:  # noqa: N802
        return text

    def display(self, html: str, *, display_id: bool) -> Any:
        assert display_id
        place = len(self.outputs)
        self.outputs.append(html)
        return SimpleNamespace(update=lambda new: self.outputs.__setitem__(place, new))


def test_only_the_kernel_of_a_notebook_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(usual_progress(), ProgressLine)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1)))
    assert isinstance(usual_progress(), NotebookProgress)


def test_a_bar_changes_in_place_and_the_comparison_has_one_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython.display", shown := Shown())
    progress = NotebookProgress()
    search = Counts(started=0.0, asked=4)
    for now in (1.0, 1.2, 2.5):
        progress.show(search, now)
    assert len(shown.outputs) == 1
    assert shown.outputs[0].startswith('<progress max="4" value="0"')
    progress.close(search, 3.0)
    comparison = Counts(started=3.0, asked=3, phase="comparison", done=1)
    progress.show(comparison, 3.1)
    progress.close(comparison, 3.2)
    assert len(shown.outputs) == 2
    assert shown.outputs[1].startswith('<progress max="3" value="1"')
    assert "comparison" in shown.outputs[1]
