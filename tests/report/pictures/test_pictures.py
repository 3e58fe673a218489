"""Every picture of a search: each can be had by its name, stands alone, and is well formed."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from menndl_dask.report.page import alone
from menndl_dask.report.pictures.pictures import PICTURES
from tests import split_results as examples
from tests import stories

STORY = replace(stories.story(60), split_results=examples.results_of(examples.pixels()), problem=examples.pixels())


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_well_formed_and_brings_its_style(name: str) -> None:
    drawn = PICTURES[name](STORY)
    html = alone(drawn)
    assert "<svg" in drawn
    for svg in re.findall(r"<svg.*?</svg>", drawn, re.DOTALL):
        ET.fromstring(svg)
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert style.startswith(".menndl-picture{")
    assert style.count("{") == style.count("}")
    assert "@media" not in style
    assert ":root" not in style


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_nothing_is_empty_or_well_formed(name: str) -> None:
    drawn = PICTURES[name](stories.empty())
    if drawn:
        ET.fromstring(drawn)
