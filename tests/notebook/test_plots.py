"""Pictures and tables of a run in a notebook."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from menndl_dask.errors import UserError
from menndl_dask.result import Result
from menndl_dask.run.recorder import Compared
from menndl_dask.run.run import Run
from tests import split_results
from tests.runs import finished, made_up, recorder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished(tmp_path_factory.mktemp("run") / "stem", made_up(24))


@pytest.mark.parametrize(
    "kind", ["progress", "pareto", "timeline", "network", "lineage", "outcomes", "operators"]
)
def test_a_picture_is_a_file_of_its_own_and_html_for_a_notebook(run: Run, kind: str, tmp_path: Path) -> None:
    picture = getattr(run.plot, kind)()
    picture.save(tmp_path / "picture.svg")
    root = ET.parse(tmp_path / "picture.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    style = root.find("{http://www.w3.org/2000/svg}style")
    assert style is not None
    assert "--blue: #2a6fd0" in str(style.text)
    html = picture._repr_html_()
    assert "<svg" in html
    assert ":root" not in html  # the rest of the notebook keeps its style
    assert repr(picture).startswith("<Picture: ")


def test_a_picture_that_cannot_be_drawn_says_why_in_one_line(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pareto: expected one of parameters, flops_forward, latency_ms, got 'colour'"):
        run.plot.pareto("colour")
    with pytest.raises(UserError, match=r"network: expected the number of an evaluation of .*, got 99"):
        run.plot.network(99)
    with pytest.raises(UserError, match="importance: expected 40 fitnesses, of networks of the usual"):
        run.plot.importance()
    with pytest.raises(UserError, match="examples: expected samples that a test has kept, got none"):
        run.plot.examples()
    with recorder(tmp_path / "empty"):
        pass
    with pytest.raises(UserError, match="expected evaluations, got none yet"):
        Run(tmp_path / "empty").plot.progress()
    assert "evaluations" in Run(tmp_path / "empty")._repr_html_()


def test_a_run_is_shown_with_its_conclusion_its_best_networks_and_its_progress(run: Run) -> None:
    html = run._repr_html_()
    assert "not tested yet" in html
    assert "mean IoU" in html
    assert "<svg" in html
    assert len(html) < 60_000


def test_samples_of_the_test_split_are_shown_in_a_notebook_and_as_a_page(tmp_path: Path) -> None:
    of = split_results.pixels()
    found = split_results.results_of(of)
    shown = finished(tmp_path / "run", made_up(3), of)
    best = Compared("network 1", shown.best().individual, 4.0, Result(0.8, metrics={"test_mean_iou": 0.5}))
    shown.compare(best)
    best.sums_path(shown.path).parent.mkdir(parents=True, exist_ok=True)
    np.savez(best.sums_path(shown.path), sums=found.sums[0][1], source=np.arange(len(found.sums[0][1])))
    np.savez(best.examples_path(shown.path), **found.examples)
    assert "wrong pixels" in shown.plot.examples()._repr_html_()
    shown.plot.classes().save(tmp_path / "classes.html")
    assert "Scores by class" in (tmp_path / "classes.html").read_text("utf-8")
