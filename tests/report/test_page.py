"""The report in a real browser: it asks for nothing, and nothing overlaps or overflows on any screen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from menndl_dask.report import page
from menndl_dask.report.content import ReportContent
from menndl_dask.report.report import render
from menndl_dask.text import TextTable
from tests import split_results as examples
from tests import stories
from tests.chromium import browser_page, find_browser

STORIES: dict[str, Callable[[], ReportContent]] = {
    "usual": stories.story,
    "compared": stories.compared,
    "wide": stories.wide,
    "pixels": lambda: replace(stories.story(), **examples.of_content(examples.pixels())),
    "classes": lambda: replace(stories.empty(), **examples.of_content(examples.classes())),
    "long": lambda: stories.as_if(5000),
    "one": lambda: stories.story(1, failing=0.0),
    "failed": stories.all_failed,
    "empty": stories.empty,
}
WIDTHS = (390, 800, 1280)
A4 = 703  # CSS pixels of the print area
_BROKEN = """<section><h2>Wide</h2><div style="width:2000px">wide</div><svg width="100" height="50">
<text x="10" y="20">one</text><text x="12" y="22">two</text><text x="90" y="20">cut off</text></svg></section>"""

# what is wrong with the page as it is laid out now, in words
_FAULTS = """(() => {
  const faults = [], name = e => (e.textContent || e.tagName).trim().slice(0, 40);
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) faults.push(`the page is ${root.scrollWidth} wide in a window of ${innerWidth}`);
  const meet = (a, b) => Math.min(Math.min(a.right, b.right) - Math.max(a.left, b.left),
                                  Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));
  const blocks = [...document.querySelectorAll('header, .tile, section, footer')];
  blocks.forEach((a, i) => blocks.slice(i + 1).forEach(b => {
    if (meet(a.getBoundingClientRect(), b.getBoundingClientRect()) > 1) faults.push(`${name(a)} overlaps ${name(b)}`);
  }));
  document.querySelectorAll('section, .tile').forEach(block => {
    const edge = block.getBoundingClientRect().right;
    [...block.children].forEach(child => {
      if (child.getBoundingClientRect().right > edge + 1) faults.push(`${name(child)} sticks out`);
    });
  });
  document.querySelectorAll('.tile dd, h1, h2, p').forEach(e => {
    if (e.scrollWidth > e.clientWidth + 1) faults.push(`${name(e)} does not fit`);
  });
  document.querySelectorAll('svg').forEach(svg => {
    const frame = svg.getBoundingClientRect(), texts = [...svg.querySelectorAll('text')];
    if (svg.querySelector('[d*=NaN], [x*=NaN], [y*=NaN]')) faults.push(`NaN in ${svg.getAttribute('aria-label')}`);
    texts.forEach((a, i) => {
      const box = a.getBoundingClientRect();
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 ||
          box.bottom > frame.bottom + 1) faults.push(`${name(a)} is cut off`);
      texts.slice(i + 1).forEach(b => {
        if (meet(box, b.getBoundingClientRect()) > 2.5) faults.push(`${name(a)} overlaps ${name(b)}`);
      });
    });
  });
  return JSON.stringify([...new Set(faults)]);
})()"""

_CONTRAST = """(() => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(v => (v / 255) ** 2.2);
                       return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const paper = light(getComputedStyle(document.querySelector('section')).backgroundColor);
  // on the cells of a confusion matrix, text has another ground; a link in a figure has no text of its own
  const texts = 'h1, h2, p, td, th, svg text:not(.percent.on), p a, small, dt, figcaption';
  return [...document.querySelectorAll(texts)].map(e => {
    const style = getComputedStyle(e), ink = light(e.namespaceURI.endsWith('svg') ? style.fill : style.color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  }).reduce((a, b) => Math.min(a, b));
})()"""


# columns that a narrow page hides behind a scroll, in words; what is folded away may scroll
_HIDDEN = """JSON.stringify([...document.querySelectorAll('.scroll')].filter(e => e.checkVisibility()).flatMap(box =>
  [...box.querySelectorAll('th, svg')].filter(e =>
    e.getBoundingClientRect().right > box.getBoundingClientRect().right + 1).map(e => e.textContent.slice(0, 40))))"""

# tooltips of marks that do not come when the pointer is over the middle of their mark
_UNREACHED = """(() => {
  const tip = document.getElementById('tip'), marks = [...document.querySelectorAll('.dot[data-tip]')];
  return JSON.stringify(marks.filter(mark => {
    mark.scrollIntoView({block: 'center'});
    const box = mark.getBoundingClientRect(), x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2;
    document.elementFromPoint(x, y).dispatchEvent(
      new PointerEvent('pointermove', {bubbles: true, clientX: x, clientY: y}));
    return !tip.textContent.includes(mark.getAttribute('data-tip').split('\\n')[0]);
  }).map(mark => mark.getAttribute('data-tip')).concat(marks.length < 30 ? ['too few marks'] : []));
})()"""

# the networks that are shown before and after a click on one of the front
_CLICKED = """(() => {
  const shown = () => [...document.querySelectorAll('.picked')].filter(e => e.offsetHeight > 0).map(e => e.id);
  const before = shown(), mark = document.querySelector('#tradeoffs a');
  mark.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}));
  return JSON.stringify([before, shown(), mark.getAttribute('href').slice(1)]);
})()"""

# the part of a figure that is shown at first, after a drag over its left half, and after a double click
_ENLARGED = """(() => {
  const figure = document.querySelector('#progress svg'), seen = [figure.getAttribute('viewBox')];
  figure.scrollIntoView({block: 'center'});
  const box = figure.getBoundingClientRect();
  const at = (name, x, y) => figure.dispatchEvent(new PointerEvent(name, {bubbles: true, pointerType: 'mouse',
    button: 0, clientX: x, clientY: y}));
  at('pointerdown', box.left, box.top);
  at('pointermove', box.left + box.width / 2, box.bottom);
  at('pointerup', box.left + box.width / 2, box.bottom);
  seen.push(figure.getAttribute('viewBox'));
  figure.dispatchEvent(new MouseEvent('dblclick', {bubbles: true}));
  return JSON.stringify([...seen, figure.getAttribute('viewBox')]);
})()"""


async def _looked_at(paths: dict[str, Path], binary: str, profile: Path) -> dict[str, Any]:
    seen: dict[str, Any] = {"faults": {}, "contrast": {}, "dark": {}, "hidden": {}, "printed": {}}
    async with browser_page(binary, profile) as tab:
        for name, path in paths.items():
            await tab.emulate("light", WIDTHS[-1])
            await tab.open(path.as_uri(), f"document.URL.endsWith('{path.name}') && document.readyState === 'complete'")
            for width in WIDTHS:
                for scheme in ("light", "dark") if width == 800 else ("light",):
                    await tab.emulate(scheme, width)
                    await tab.until(f"innerWidth === {width}")
                    seen["faults"][name, width, scheme] = json.loads(await tab.evaluate(_FAULTS))
                    if width == 800:
                        seen["hidden"][name] = json.loads(await tab.evaluate(_HIDDEN))
            await tab.emulate("light", A4, media="print")
            await tab.until(f"innerWidth === {A4}")
            seen["printed"][name] = json.loads(await tab.evaluate(_FAULTS)) + json.loads(await tab.evaluate(_HIDDEN))
            await tab.emulate("dark", WIDTHS[-1])
            seen["contrast"][name, "dark"] = await tab.evaluate(_CONTRAST)
            seen["dark"][name] = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
            await tab.emulate("light", WIDTHS[-1])
            seen["contrast"][name, "light"] = await tab.evaluate(_CONTRAST)
        broken = profile.parent / "broken.html"
        broken.write_text(page.whole("broken", [_BROKEN], ""), encoding="utf-8")
        await tab.open(broken.as_uri(), "document.URL.endsWith('broken.html') && document.readyState === 'complete'")
        seen["broken"] = json.loads(await tab.evaluate(_FAULTS))
        first = next(iter(paths.values()))
        await tab.open(first.as_uri(), f"document.URL.endsWith('{first.name}') && document.readyState === 'complete'")
        seen["tip"] = await tab.evaluate(
            "(() => { const dot = document.querySelector('#progress .dot[data-tip]');"
            " dot.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, clientX: 300, clientY: 200}));"
            " const tip = document.getElementById('tip');"
            " return [tip.className, tip.textContent, getComputedStyle(tip).opacity]; })()"
        )
        seen["unreached"] = json.loads(await tab.evaluate(_UNREACHED))
        seen["clicked"] = json.loads(await tab.evaluate(_CLICKED))
        seen["enlarged"] = json.loads(await tab.evaluate(_ENLARGED))
        seen |= {"errors": tab.errors, "failed": tab.failed, "requests": tab.requests}
    return seen


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    binary = find_browser()
    assert binary is not None  # see tests/conftest.py
    folder = tmp_path_factory.mktemp("pages")
    paths = {name: folder / f"{name}.html" for name in STORIES}
    for name, path in paths.items():
        path.write_text(render(STORIES[name]()), "utf-8")
    return asyncio.run(asyncio.wait_for(_looked_at(paths, binary, folder / "profile"), 120))


@pytest.mark.browser
@pytest.mark.parametrize("name", STORIES)
def test_nothing_overlaps_or_overflows_at_any_width_in_light_or_dark(name: str, seen: dict[str, Any]) -> None:
    faults = {key: found for key, found in seen["faults"].items() if key[0] == name and found}
    assert faults == {}


@pytest.mark.browser
def test_no_column_is_hidden_on_a_small_screen_or_clipped_in_print(seen: dict[str, Any]) -> None:
    assert {name: found for name, found in seen["hidden"].items() if found} == {}
    assert {name: found for name, found in seen["printed"].items() if found} == {}


@pytest.mark.browser
def test_every_point_says_what_it_is(seen: dict[str, Any]) -> None:
    assert seen["unreached"] == []


@pytest.mark.browser
def test_a_click_on_the_front_shows_the_network(seen: dict[str, Any]) -> None:
    before, after, wanted = seen["clicked"]
    assert before == []
    assert after == [wanted]


@pytest.mark.browser
def test_a_part_of_a_figure_can_be_enlarged(seen: dict[str, Any]) -> None:
    whole, part, again = ([float(n) for n in box.split()] for box in seen["enlarged"])
    assert part[2] == pytest.approx(whole[2] / 2, rel=0.02)
    assert again == whole


@pytest.mark.browser
def test_what_overlaps_or_overflows_would_be_seen(seen: dict[str, Any]) -> None:
    told = "; ".join(seen["broken"])
    assert all(words in told for words in ("one overlaps two", "cut off is cut off", "wide sticks out", "the page is"))


@pytest.mark.browser
def test_the_page_asks_for_nothing_and_has_no_errors(seen: dict[str, Any]) -> None:
    assert seen["errors"] == seen["failed"] == []
    assert [url for url in seen["requests"] if not url.startswith(("file:", "data:"))] == []


@pytest.mark.browser
def test_all_text_can_be_read_in_light_and_dark(seen: dict[str, Any]) -> None:
    assert {name: ratio for name, ratio in seen["contrast"].items() if ratio < 3} == {}
    assert set(seen["dark"].values()) == {"rgb(18, 19, 22)"}


@pytest.mark.browser
def test_a_mark_says_what_it_is_when_pointed_at(seen: dict[str, Any]) -> None:
    style, text, opacity = seen["tip"]
    assert style == "on"
    assert text.startswith("network ")
    assert float(opacity) > 0.9


def test_the_page_is_whole_and_needs_no_script() -> None:
    text = page.whole("a < b", ["<section>one</section>", ""], "end")
    assert text.startswith("<!doctype html>")
    assert "<title>a &lt; b</title>" in text
    assert 'src="' not in text
    assert 'href="http' not in text
    assert text.count("<section>") == 1


def test_a_part_without_content_is_left_out() -> None:
    assert page.section("Nothing", "", "") == ""
    assert page.side_by_side([]) == page.scrolling("") == ""
    assert page.section("A & B", "<p>x</p>", name="ab") == '<section id="ab"><h2>A &amp; B</h2><p>x</p></section>'


def test_tables_escape_what_stands_in_them() -> None:
    text = page.html_table(TextTable(["network", "n"], [["<b>", "1"], ["U-Net", "2"]]), marked=1)
    assert "&lt;b&gt;" in text
    assert text.count("<tr class=standard>") == 1
    assert "<b>" not in page.tiles([("<b>", "<b>", "<b>")])
    assert "<th class=n>count</th>" in page.raw_table(["kind", "#count"], ["<td>x</td>"])
