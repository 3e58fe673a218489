"""Charts: scales, ticks, marks, and SVG that is well formed whatever the values are."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.report.chart import Chart, Level, Line, Mark, Scale, element, spread_out

NUMBERS = st.floats(-1e9, 1e9).filter(lambda v: v == 0 or abs(v) > 1e-30)  # what is measured is not smaller


def _parsed(svg: str) -> ET.Element:
    assert "nan" not in svg
    return ET.fromstring(svg)


@given(st.lists(st.one_of(NUMBERS, st.just(math.nan), st.just(math.inf))), st.booleans())
def test_a_scale_has_room_for_all_values_and_a_few_round_ticks(values: list[float], log: bool) -> None:
    scale = Scale.around(values, log=log)
    assert scale.low < scale.high
    kept = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    assert all(scale.holds(v) for v in kept)
    ticks = scale.ticks(5)
    assert all(scale.low * (1 - 1e-9) <= t <= scale.high * (1 + 1e-9) for t in ticks) or not log
    assert len(ticks) <= 12


@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_position_never_leaves_the_axis(low: float, high: float, value: float) -> None:
    scale = Scale.around([low, high]).over(50, 250)
    assert 50 <= scale(value) <= 250
    assert scale(scale.low) == 50
    assert scale(scale.high) == 250


def test_equal_ratios_are_equally_far_apart_on_a_logarithmic_scale() -> None:
    scale = Scale(1, 10_000, 0, 100, log=True)
    assert [scale(v) for v in (1, 10, 100, 1000)] == pytest.approx([0, 25, 50, 75])
    assert scale.ticks(4) == [1, 10, 100, 1000, 10_000]
    assert scale(0) == 0


def test_counts_have_whole_ticks() -> None:
    assert Scale(0.5, 2.5, whole=True).ticks(8) == [1, 2]


@given(st.lists(st.floats(0, 200), max_size=8))
def test_labels_are_spread_out_without_overlap(wanted: list[float]) -> None:
    placed = spread_out(wanted, 15, 0, 200)
    assert all(b - a >= 15 - 1e-6 for a, b in zip(sorted(placed), sorted(placed)[1:], strict=False))
    assert all(p <= 200 for p in placed)


def _chart(values: list[float], **settings: Any) -> Chart:
    marks = [Mark(n, v, f'<{n}> & "{v}"') for n, v in enumerate(values, 1)]
    x = Scale(0.5, max(len(values), 1) + 0.5, whole=True)
    return Chart("a <chart>", x, Scale.around(values), "n", "value", marks, **settings)


@given(st.lists(NUMBERS, max_size=20))
def test_a_chart_is_well_formed_for_any_values(values: list[float]) -> None:
    line = Line(list(enumerate(values, 1)), "best", "best <1>", step=True)
    levels = [Level(v, "constant", "constant & more") for v in values[:2]]
    ticks = [(1.0, "failed: <x>", False)]
    root = _parsed(_chart(values, lines=[line] if values else [], levels=levels, ticks=ticks).svg())
    assert root.get("role") == "img"
    assert root.get("aria-label") == "a <chart>"
    assert len([e for e in root if e.get("class") == "dot dot"]) == len(values)


def test_a_mark_outside_of_the_axis_is_an_arrow_at_its_edge() -> None:
    chart = Chart("c", Scale(0, 2), Scale(0, 1), "x", "y", [Mark(1, -5, "far below"), Mark(1, 0.5), Mark(1, 9)])
    shapes = [e.tag for e in _parsed(chart.svg()) if (e.get("class") or "").startswith("dot")]
    assert shapes == ["path", "circle", "path"]


def test_a_level_outside_of_the_axis_is_left_out_with_its_label() -> None:
    levels = [Level(7, "constant", "seven"), Level(0.5, "standard", "half")]
    chart = Chart("c", Scale(0, 2), Scale(0, 1), "x", "y", levels=levels)
    assert "seven" not in chart.svg()
    assert "half" in chart.svg()


def test_long_numbers_at_the_axis_get_the_room_that_they_need() -> None:
    chart = Chart("c", Scale(0, 2), Scale(-0.00012, -0.00002), "x", "y")
    ticks = [e for e in _parsed(chart.svg()) if e.get("text-anchor") == "end"]
    assert any("−" in (e.text or "") for e in ticks)
    assert all(float(e.get("x", 0)) > 6.4 * len(e.text or "") + 15 for e in ticks)


def test_a_drawing_scales_with_the_page_and_says_what_it_is() -> None:
    root = _parsed(element("two < three", 30, 20, "<g/>", "network"))
    assert root.get("viewBox") == "0 0 30 20"
    assert root.get("aria-label") == "two < three"
