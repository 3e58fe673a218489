"""The documentation: every Python block in it runs, in the order in which it stands."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from menndl_dask.report import render
from menndl_dask.result import FAILURES
from tests import stories

ROOT = Path(__file__).parent.parent
PAGES = ("encoding", "report")
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[str]:
    """Return the Python blocks of a page."""
    return _BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))


@pytest.fixture
def beside_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a directory whose modules can be imported, as those beside a script."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and Path(str(sys.modules[name].__file__)).parent == tmp_path:
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_the_documentation_run(page: str, beside_the_script: Path) -> None:
    found = blocks(page)
    assert found
    names: dict[str, object] = {"__name__": f"docs_{page}"}
    for number, block in enumerate(found, 1):
        if module := re.match(r"# (\w+\.py)\n", block):  # a file that the reader is told to write
            (beside_the_script / module[1]).write_text(block, encoding="utf-8")
            continue
        exec(compile(block, f"docs/{page}.md, Python block {number}", "exec"), names)


def test_a_gene_kind_takes_about_twenty_lines() -> None:
    block = next(b for b in blocks("encoding") if b.startswith("# my_layers.py"))
    body = block[block.index("@dataclass") :]
    assert len([line for line in body.splitlines() if line.strip()]) <= 22


def test_every_part_of_the_report_is_explained() -> None:
    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    headings = re.findall(r"<h2>([^<]+)</h2>", render(stories.compared()))
    assert len(headings) >= 8
    assert [heading for heading in headings if f"| {heading} |" not in text] == []
    assert len(FAILURES) == 8


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (ROOT / "docs" / target).exists()
