"""Networks for use, trained on the training and the validation split, and their test scores. Runs on the driver."""

from __future__ import annotations

from collections.abc import Sequence

from menndl_dask.problem import Problem
from menndl_dask.report.contenders import Ranking, contender_table, standings
from menndl_dask.run.recorder import Compared
from menndl_dask.text import TextTable

_OF_VALIDATION = 2  # number of the column with the fitness, which was measured on images that were trained on


def final_title(finals: Sequence[Compared]) -> str:
    """Say what the table shows."""
    factor = finals[-1].factor
    budget = "the budget of the search" if factor == 1 else f"{factor:g} times the budget of the search"
    return f"Trained for use on the training and the validation split, with {budget} (mean ± standard deviation):"


def final_table(finals: Sequence[Compared], problem: Problem) -> TextTable:
    """Return the table of `menndl_dask.report.contenders`, without the column of the validation split."""
    table = contender_table(Ranking(standings(finals, problem), problem))
    head, *rows = ([*row[:_OF_VALIDATION], *row[_OF_VALIDATION + 1 :]] for row in (table.head, *table.rows))
    return TextTable(head, rows)
