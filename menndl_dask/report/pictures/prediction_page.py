"""The page of ``menndl predict`` for images with labels: pictures and scores of the predictions. Runs on the driver."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from menndl_dask import files
from menndl_dask.errors import UserError
from menndl_dask.problem import Problem
from menndl_dask.report import page
from menndl_dask.report.pictures.examples import sample_pictures
from menndl_dask.report.pictures.split_results import SplitResults, scores, what_is_shown


def write_prediction_page(
    path: Path, source: str, problem: Problem, examples: Mapping[str, NDArray[Any]], sums: NDArray[Any]
) -> Path:
    """Write a page on predictions for images with labels, and return its path.

    Parameters
    ----------
    path
        The file to write.
    source
        Where the images are.
    problem
        What the network was trained for.
    examples, sums
        As `menndl_dask.prediction.score.look_at` returns them.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    results = SplitResults("the network", examples, [("the network", sums)], "image")
    title = f"Predictions for {Path(source).name}"
    note = f'<p class="note">{escape(what_is_shown(problem))}</p>'
    heading = "Images of the test split" if str(examples.get("split", "")) else "Images"
    sections = [
        f"<header><h1>{escape(title)}</h1><p class=sub>{escape(source)}</p></header>",
        page.section(heading, note, sample_pictures(examples, problem), name="images"),
        page.section("Scores", scores(results, problem), name="scores"),
    ]
    try:
        files.write_text(path, page.whole(f"{title} – menndl", sections, "written by menndl_dask"))
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    return path
