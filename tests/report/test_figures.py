"""The figures of the report: what is in them, and that they stay light however long a search was."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.report.figures import (
    anchor,
    curve_figures,
    front_members,
    knee,
    pareto_front,
    progress_figure,
    timeline_figure,
    tradeoff_figures,
)
from menndl_dask.result import Result
from tests import stories

STORY = stories.story(60)
POINTS = st.lists(st.tuples(st.integers(0, 9).map(float), st.integers(0, 9).map(float)), max_size=12)


def _marks(svg: str, style: str) -> int:
    return sum((element.get("class") or "") == style for element in ET.fromstring(svg))


def test_every_network_is_in_the_progress_figure_once() -> None:
    svg = progress_figure(STORY.evaluations, "mean IoU", 0.3, stories.STANDARD)
    failed = sum(not result.succeeded for _, result in STORY.evaluations)
    assert _marks(svg, "dot dot") == 60 - failed
    assert _marks(svg, "failure") == failed
    best = max(result.fitness for _, result in STORY.evaluations if result.fitness is not None)
    assert f">best {best:.4f}<" in svg
    assert ">U-Net 0.7410<" in svg
    assert ">constant 0.3000<" in svg


def test_the_best_so_far_never_falls() -> None:
    svg = progress_figure(STORY.evaluations, "mean IoU")
    path = next(e.get("d") or "" for e in ET.fromstring(svg) if e.get("class") == "line best")
    heights = [float(part.partition("V")[2]) for part in path.split("H")[1:]]
    assert heights == sorted(heights, reverse=True)  # pixels count downwards
    assert len(heights) > 2


def test_one_very_bad_network_does_not_flatten_the_others() -> None:
    entries = [(individual, result) for individual, result in STORY.evaluations if result.succeeded]
    entries[3] = (entries[3][0], replace(entries[3][1], fitness=-1e6))
    svg = progress_figure(entries, "R²")
    dots = [e for e in ET.fromstring(svg) if (e.get("class") or "") == "dot dot"]
    heights = [float(e.get("cy", 0)) for e in dots if e.tag == "circle"]
    assert max(heights) - min(heights) > 100
    assert sum(e.tag == "path" for e in dots) >= 1  # an arrow at the edge


def test_figures_of_nothing_are_empty_or_well_formed() -> None:
    ET.fromstring(progress_figure([], "fitness"))
    ET.fromstring(progress_figure(stories.all_failed().evaluations, "fitness", 0.2))
    assert tradeoff_figures([], "fitness") == []
    assert timeline_figure(STORY.evaluations, {}) == ""
    assert curve_figures(Result(0.5), "fitness") == []


@given(POINTS)
def test_the_front_is_what_no_other_point_beats_in_both(points: list[tuple[float, float]]) -> None:
    front = pareto_front(points)

    def beaten(point: tuple[float, float]) -> bool:
        return any(c <= point[0] and f >= point[1] and (c, f) != point for c, f in points)

    assert {points[i] for i in front} == {p for p in points if not beaten(p)}
    assert [points[i][0] for i in front] == sorted({points[i][0] for i in front})


def test_there_is_a_trade_off_for_each_cost_that_is_known() -> None:
    figures = tradeoff_figures(STORY.evaluations, "mean IoU", stories.STANDARD)
    assert len(figures) == 3
    assert all(_marks(svg, "dot standard") == 1 and _marks(svg, "dot front") >= 1 for svg in figures)
    assert len(re.findall('class="dot', figures[0])) == sum(r.succeeded for _, r in STORY.evaluations) + 1  # each once
    only = [(i, replace(r, costs={"parameters": 5.0})) for i, r in STORY.evaluations if r.succeeded]
    assert len(tradeoff_figures(only, "mean IoU")) == 1


def test_a_click_on_the_front_leads_to_what_is_said_of_a_network() -> None:
    members = front_members(STORY.evaluations)
    fitness = [result.fitness for _, result in members]
    assert fitness == sorted(fitness, reverse=True)
    linked = [individual.id for individual, _ in members[:2]]
    svg = "".join(tradeoff_figures(STORY.evaluations, "mean IoU", None, linked))
    assert set(re.findall(r'<a href="#(.*?)"', svg)) == {anchor(number) for number in linked}
    assert "<a " not in "".join(tradeoff_figures(STORY.evaluations, "mean IoU"))


def test_the_knee_is_where_more_cost_begins_to_gain_little() -> None:
    front = [(1e3, 0.1), (2e3, 0.2), (1e4, 0.8), (1e5, 0.81), (1e6, 0.82)]
    assert knee(front) == 2
    assert knee(front[:2]) is None
    assert sum(_marks(svg, "dot knee") for svg in tradeoff_figures(STORY.evaluations, "mean IoU")) >= 1


def test_networks_that_were_stopped_early_are_no_failures() -> None:
    stopped = [(i, Result.failed("pruned", times=r.times, worker=r.worker)) for i, r in STORY.evaluations]
    assert "60 stopped early, 0 failed" in progress_figure(stopped, "mean IoU")
    assert _marks(progress_figure(stopped, "mean IoU"), "failure stopped") == 60
    assert 'class="bar failed"' not in timeline_figure(stopped, STORY.completed_at)


def test_a_learning_curve_leaves_out_what_is_no_number() -> None:
    curve = ({"epoch": 1.0, "loss": float("nan"), "fitness": 0.2}, {"epoch": 2.0, "loss": 0.5, "fitness": 0.4})
    fitness, losses = curve_figures(Result(0.4, curve=curve), "accuracy")
    assert _marks(fitness, "dot best") == 2
    assert _marks(losses, "dot train") == 1
    assert "validation" not in losses.partition("aria-label")[2].partition(">")[2]


def test_the_timeline_has_a_bar_for_each_evaluation_and_a_row_for_each_worker() -> None:
    svg = timeline_figure(STORY.evaluations, STORY.completed_at)
    assert svg.count("<g><title>network") == 60
    phases = {name for _, result in STORY.evaluations for name in result.times} - {"total"}
    assert all(svg.count(f'class="bar {phase}"') == 60 for phase in phases)
    failed = sum(not result.succeeded for _, result in STORY.evaluations)
    assert svg.count('class="bar failed"') == failed
    assert "Timeline of 2 workers" in svg


def test_an_evaluation_that_was_prepared_ahead_has_its_worker_from_its_turn_on() -> None:
    times = {"data": 1.0, "build": 2.0, "train": 6.0, "total": 9.0}
    waited = {**times, "wait": 3.0, "total": 12.0}
    found = [(Individual(n, Genome(())), Result(0.5, times=t, worker="w")) for n, t in enumerate((times, waited))]
    svg = timeline_figure(found, {0: 9.0, 1: 15.0})
    assert "0.5000\n9.0 s on w" in svg and "0.5000\n6.0 s on w" in svg


def test_figures_stay_light_after_twenty_thousand_evaluations() -> None:
    long = stories.as_if(20_000)
    assert len(progress_figure(long.evaluations, "mean IoU")) < 1_200_000
    assert sum(map(len, tradeoff_figures(long.evaluations, "mean IoU"))) < 3_000_000
    assert len(timeline_figure(long.evaluations, long.completed_at)) < 1_500_000
