"""The section on the test split: pictures of samples, scores by class, confusion and calibration."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from menndl_dask.genome.individual import Individual
from menndl_dask.problem import Problem
from menndl_dask.report.contenders import rankings
from menndl_dask.report.pictures.classes import calibration_figure, class_figure, class_scores, confusion_figure
from menndl_dask.report.pictures.split_results import SplitResults, read_split_results, split_section
from menndl_dask.result import Result
from menndl_dask.run.recorder import STANDARD_ID, Compared
from menndl_dask.run.run import Run
from tests import split_results as examples
from tests import stories
from tests.problems import problem
from tests.runs import recorder

EVIL = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>"


def _section(of: Problem, **settings: Any) -> str:
    return split_section(replace(examples.results_of(of), **settings), of, "made again")


def test_masks_are_shown_over_the_image_which_is_in_the_page_once() -> None:
    of = examples.pixels()
    text = _section(of)
    assert (
        re.findall(r"<figcaption>(\w+)", text)
        == ["Best", "Median", "Worst"] + ["Best"] * 2 + ["Median"] * 2 + ["Worst"] * 2
    )
    assert "<summary>6 further samples</summary>" in text
    first = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    assert [e.text for e in first.iter("text")] == ["image", "label", "prediction", "wrong pixels"]
    assert len(list(first.iter("image"))) == 4
    assert len(list(first.iter("use"))) == 3
    assert all(name in text for name in of.facts.classes)  # in the legend
    assert "class 0 has no colour" in text


def test_the_planes_of_a_volume_stand_side_by_side_in_two_rows() -> None:
    text = _section(examples.volumes())
    first = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    titles = [(float(e.get("x", 0)), float(e.get("y", 0))) for e in first.iter("text")]
    assert len({x for x, _ in titles}) == len({y for _, y in titles}) == 2
    assert "three planes through its middle" in text


def test_confused_samples_come_with_what_they_are_and_were_taken_for() -> None:
    text = _section(examples.classes())
    assert "Below each: its label, the prediction if it is another class" in text
    assert text.index("Confused most often") < text.index(">Worst<") < text.index(">Best<")
    assert re.search(r"<figcaption>class \d, predicted class \d \(\d+%\)</figcaption>", text)


def test_a_confidence_that_is_not_known_is_not_shown() -> None:
    of = examples.classes()
    found = examples.results_of(of).examples
    number, _, right = found["calibration"]
    text = _section(of, examples={**found, "calibration": np.stack([number, number, right])})
    text = "".join(re.findall(r"<figcaption>.*?</figcaption>", text))
    assert re.search(r"<figcaption>class \d, predicted class \d</figcaption>", text) and "%)" not in text


def test_of_values_the_predicted_are_shown_against_the_true_ones() -> None:
    text = _section(examples.values())
    assert "Predicted against true values of label 0" in text
    assert re.search(r"<figcaption>true [-\d., e]+ predicted", text)
    assert "Scores by class" not in text


def test_texts_of_a_problem_put_no_elements_into_the_page() -> None:
    of = examples.pixels()
    of = replace(of, facts=replace(of.facts, classes=(EVIL,) * of.facts.outputs))
    text = _section(of, name=EVIL, unit=EVIL, sums=[(EVIL, sums) for _, sums in examples.results_of(of).sums])
    assert "<img" not in text
    assert "<script" not in text


def test_a_run_of_an_earlier_version_says_how_pictures_are_made() -> None:
    of = examples.pixels()
    text = _section(of, examples={})
    assert "made again" in text
    assert "Scores by class" in text  # these are known
    assert split_section(None, of, "made again") == ""


def test_pictures_are_bounded_whatever_the_images_are() -> None:
    assert len(_section(examples.pixels(size=900, channels=3)).encode()) < 1_300_000


def test_the_chosen_network_of_a_run_is_shown_beside_the_standard_one(tmp_path: Path) -> None:
    of = examples.pixels()
    found = examples.results_of(of)
    genome = stories.evaluations(1, of, failing=0.0)[0][0].genome
    metrics = {"test_mean_iou": 0.5}
    compared = [
        Compared("network 3", Individual(3, genome), 4.0, Result(0.7, metrics=metrics)),
        Compared("network 5", Individual(5, genome), 4.0, Result(0.8, metrics=metrics)),
        Compared(
            "U-Net", Individual(STANDARD_ID, replace(genome, genes=genome.genes[:1])), 4.0, Result(0.9, metrics=metrics)
        ),
    ]
    with recorder(tmp_path, of) as opened:
        assert read_split_results(Run(tmp_path)) is None
        for each in compared:
            opened.compared(each)
    for each in compared:
        each.sums_path(tmp_path).parent.mkdir(parents=True, exist_ok=True)
        np.savez(each.sums_path(tmp_path), sums=found.sums[0][1], source=np.arange(len(found.sums[0][1])))
    np.savez(compared[1].examples_path(tmp_path), **found.examples)
    tested = read_split_results(Run(tmp_path))
    assert tested is not None
    assert tested.name == "network 5"
    assert [name for name, _ in tested.sums] == ["network 5", "U-Net"]
    assert tested.examples["place"].tolist() == found.examples["place"].tolist()


def test_scores_by_class_have_a_mark_for_each_class_and_network() -> None:
    of = examples.pixels()
    sums = examples.results_of(of).sums
    svg = class_figure(sums, of, "scene")
    whole, each = class_scores(sums[0][1], of)
    assert each.shape == (len(sums[0][1]), 3)
    assert svg.count("<rect") == 6
    assert all(f"{value:.4f}" in svg for value in whole)
    assert "a dot is one scene" in svg


def test_the_scores_of_single_samples_of_classes_have_an_interval() -> None:
    of = examples.classes()
    svg = class_figure(examples.results_of(of).sums, of, "sample")
    assert "95 % interval" in svg
    assert "<circle" not in svg


def test_a_class_without_labels_is_named_so() -> None:
    of = problem("segmentation", ((8, 8, 1),))
    sums = np.zeros((2, 3, 3))
    sums[:, :, 0] = 4
    assert class_figure([("a", sums)], of, "sample").count("without a label here") == 2


def test_of_very_many_classes_those_that_are_confused_are_shown() -> None:
    counts = np.diag(np.full(200, 50))
    counts[150, 7] = 30
    svg = confusion_figure(counts, [f"kind {n}" for n in range(200)])
    assert "kind 150 predicted as kind 7: 37.5% (30)" in svg
    assert svg.count("<rect") == 24 * 24


@pytest.mark.parametrize("confidence", [0.9, 1.0])
def test_calibration_is_shown_where_confidences_are_known(confidence: float) -> None:
    calibration = np.zeros((3, 10))
    calibration[:, 9] = 100, 100 * confidence, 70
    svg = calibration_figure(calibration)
    assert bool(svg) == (confidence < 1)
    assert ("expected calibration error 0.200" in svg) == bool(svg)


def test_nothing_is_shown_of_a_test_without_examples_and_sums() -> None:
    assert "<svg" not in split_section(SplitResults("a"), examples.pixels(), "")


def test_after_a_comparison_with_several_seeds_the_recommended_network_is_shown(tmp_path: Path) -> None:
    of = examples.pixels()
    kept = examples.results_of(of)
    genome = stories.evaluations(1, of, failing=0.0)[0][0].genome
    standard = replace(genome, genes=genome.genes[:1])
    pairs = [("network 5", Individual(5, genome), 0.8), ("U-Net", Individual(STANDARD_ID, standard), 0.7)]
    with recorder(tmp_path, of) as opened:
        for name, individual, fitness in pairs:
            for seed in (0, 1):
                result = Result(fitness + seed / 100, metrics={"test_mean_iou": fitness}, costs={"flops_forward": 1.0})
                opened.compared(each := Compared(name, individual, 4.0, result, seed))
                each.sums_path(tmp_path).parent.mkdir(exist_ok=True)
                np.savez(each.sums_path(tmp_path), sums=kept.sums[0][1], source=np.arange(len(kept.sums[0][1])))
                if seed == 0:
                    np.savez(each.examples_path(tmp_path), **kept.examples)
    run = Run(tmp_path)
    found = read_split_results(run, rankings(run)[-1])
    assert found is not None
    assert found.name == "network 5"
    assert [name for name, _ in found.sums] == ["network 5", "U-Net"]
    assert found.examples
    assert read_split_results(run) is None  # there was no comparison at the end of the search
