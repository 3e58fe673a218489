"""HTML of the report page, with style sheet and script inline. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from html import escape
from importlib.resources import files

from menndl_dask.text import TextTable, printable


def whole(title: str, sections: Sequence[str], footer: str, refresh_s: int = 0) -> str:
    """Return the page as one HTML document that loads no other files: the title is plain text, all else is HTML.

    Browsers run no script on it but its own, whatever the texts in it say. With `refresh_s` the page loads itself anew
    after so many seconds, unless it is hidden, part of another page, or a text on it is selected.
    """
    names = "chart.css", "page.css", "page.js"
    charts, style, script = (files(__package__).joinpath(name).read_text("utf-8") for name in names)
    own = f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {own}; img-src data:; base-uri 'none'"
    refresh = f" data-refresh={refresh_s:d}" if refresh_s else ""
    return printable(
        f'<!doctype html>\n<html lang="en"{refresh}><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{charts}{style}</style></head>\n<body><main>\n"
        + "\n".join(part for part in sections if part)
        + f'\n<footer>{footer}</footer>\n</main><div id="tip" aria-hidden="true"></div>'
        f"<script>{script}</script></body></html>\n"
    )


def alone(svg: str) -> str:
    """Return a picture as HTML with its style, for a notebook or another page; there it is on light ground."""
    style = files(__package__).joinpath("chart.css").read_text("utf-8")
    style = re.sub(r"@media[^{]*\{[^{}]*\{[^{}]*\}\s*\}", "", style)
    style = style.replace(":root", "&").replace("light dark", "light")
    return f'<div class="menndl-picture"><style>.menndl-picture{{background:var(--card);{style}}}</style>{svg}</div>'


def with_test_first(table: TextTable) -> TextTable:
    """Return a table with the columns of the test split next to the names, so that a narrow page shows them.

    >>> with_test_first(TextTable(["network", "R²", "FLOPs", "test R²"], [["a", "1", "2", "3"]])).rows
    [['a', '3', '1', '2']]
    """
    places = range(1, len(table.head))
    of_test = [place for place in places if table.head[place].startswith(("test ", "difference"))]
    order = [0, *of_test, *(place for place in places if place not in of_test)]
    moved = [[row[place] for place in order] for row in (table.head, *table.rows)]
    return replace(table, head=moved[0], rows=moved[1:])


def section(heading: str, *content: str, name: str = "") -> str:
    """Return a section with a heading; empty if there is no content."""
    kept = [text for text in content if text]
    marker = f' id="{escape(name)}"' if name else ""
    return f"<section{marker}><h2>{escape(heading)}</h2>{''.join(kept)}</section>" if kept else ""


def side_by_side(figures: Sequence[str], style: str = "") -> str:
    """Return figures in a row that wraps on a narrow page."""
    each = "".join(f"<div>{figure}</div>" for figure in figures)
    return f'<div class="{f"row {style}".strip()}">{each}</div>' if figures else ""


def scrolling(figure: str) -> str:
    """Return a figure that scrolls sideways on a narrow page; empty if there is no figure."""
    return f'<div class="scroll">{figure}</div>' if figure else ""


def tiles(values: Sequence[tuple[str, str, str]]) -> str:
    """Return tiles with key figures: name, value and note."""
    each = (
        f'<div class="tile"><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(beside)}</small></dd></div>'
        for name, value, beside in values
    )
    return f'<dl class="tiles">{"".join(each)}</dl>'


def html_table(table: TextTable, marked: int | None = None, *, is_ranked: bool = False) -> str:
    """Return a table as HTML, with numbers in the columns that are not to the left.

    The row `marked` is highlighted. If it `is_ranked`, the name in the first row is bold.
    """
    numbers = [place not in table.left for place in range(len(table.head))]
    rows = [
        "".join(f"<td{' class=n' if n else ''}>{escape(t)}</td>" for n, t in zip(numbers, row, strict=True))
        for row in table.rows
    ]
    head = [f"#{t}" if n else t for n, t in zip(numbers, table.head, strict=True)]
    return raw_table(head, rows, marked, is_ranked=is_ranked)


def raw_table(head: Sequence[str], rows: Sequence[str], marked: int | None = None, *, is_ranked: bool = False) -> str:
    """Return a table of rows of HTML, as `html_table` does; headings of number columns start with ``#``."""
    heads = "".join(f"<th class=n>{escape(t[1:])}</th>" if t.startswith("#") else f"<th>{escape(t)}</th>" for t in head)
    body = "".join(f"<tr{' class=standard' if n == marked else ''}>{row}</tr>" for n, row in enumerate(rows))
    ranked = " ranked" if is_ranked else ""
    return f'<div class="scroll{ranked}"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
