"""What a notebook shows of a problem, a space, a search, a genome, a result and a run: small tables, escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from menndl_dask import Result, Search, SearchSpace
from tests.problems import problem
from tests.runs import finished, made_up
from tests.stories import STEM

NASTY = "<script>alert(1)</script>"


def shown(tmp_path: Path) -> dict[str, Any]:
    space = SearchSpace.image(STEM)
    return {
        "problem": replace(problem(), data=NASTY), "space": space, "genome": made_up(1)[0][0].genome,
        "search": Search(replace(problem(), data=NASTY), SearchSpace.image(problem()), tmp_path / NASTY),
        "result": Result(0.5, costs={"parameters": 10.0}, message=NASTY), "failure": Result.failed("error", NASTY),
        "run": finished(tmp_path / NASTY / "run", made_up(3)),
    }  # fmt: skip


def test_each_is_a_small_escaped_table_that_takes_the_colours_of_its_page(tmp_path: Path) -> None:
    for name, value in shown(tmp_path).items():
        html = value._repr_html_()
        assert "<table" in html, name
        assert "<script" not in html, name
        table = html.partition("<style")[0]
        assert len(table) < 8000, name
        assert not re.search(r"[^-]color:", table), name
