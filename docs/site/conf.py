"""The documentation site: Sphinx reads the pages of docs/ and benchmarks/ as they are. `make docs` builds it.

Options of the command line and the public names are written from the program itself, and the tutorials are run.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import menndl_dask  # noqa: E402
from menndl_dask.cli.cli import _parser  # noqa: E402

project, author, copyright = "menndl_dask", "menndl_dask developers", "menndl_dask developers, BSD-3-Clause"  # noqa: A001
release = version = menndl_dask.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
include_patterns = ["docs/*.md", "docs/tutorials/*.md", "benchmarks/*.md", "*.md"]
exclude_patterns = ["build", ".venv", "runs", "tests", "menndl_dask", "workflows", "clusters", ".github"]
root_doc = "docs/index"
source_suffix = {".md": "myst-nb"}
# the tutorials are notebooks: they run when they have changed, in a folder of their own, and an error ends the build
nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"menndl_dask {release}"
html_extra_path = ["extra"]
html_static_path: list[str] = []
html_copy_source = False
default_role = "literal"  # `Search` in a docstring
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say what arguments are
python_use_unqualified_type_names = True
_LINK = re.compile(r"\[([^\]\n]*)\]\(((?!https?:|mailto:|#)[^)#\s]+)(#[^)\s]*)?\)")


def setup(app: Any) -> None:
    """Write what the program knows better than a page, when a page is read."""
    app.connect("source-read", _read)


def _read(_: Any, name: str, source: list[str]) -> None:
    text = source[0].replace("<!-- options -->", _options()).replace("<!-- names -->", _names())
    page = ROOT / f"{name}.md"
    source[0] = _LINK.sub(lambda link: _link(page, *link.groups()), text)


def _link(page: Path, text: str, target: str, section: str | None) -> str:
    """Return a link of a page; to a folder or a program, which the site does not have, it is its name."""
    path = (page.parent / target).resolve()
    if path.suffix == ".md" or not path.is_relative_to(ROOT):
        return f"[{text}]({target}{section or ''})"
    name = str(path.relative_to(ROOT))
    return text if name in text else f"{text} (`{name}`)"


def _options() -> str:
    """Return every command with its options, from the parser."""
    return "\n".join(_command(parser) for parser in _commands(_parser()))


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                found += _commands(each) or [each]
    return found


def _command(parser: argparse.ArgumentParser) -> str:
    lines = [f"## {parser.prog}", "", parser.description or "", "", "| option | |", "|---|---|"]
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        value = action.metavar if isinstance(action.metavar, str) else "|".join(map(str, action.choices or ()))
        value = value or ("" if action.nargs == 0 else action.dest.upper())
        given = f"{action.option_strings[-1]} {value}".strip() if action.option_strings else value
        many = " …" if action.nargs in ("+", "*") else ""
        shown = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%").replace("|", "\\|")
        escaped = given.replace("|", "\\|")
        lines.append(f"| `{escaped}{many}` | {shown.replace('<', '&lt;')} |")
    return "\n".join([*lines, ""])


def _names() -> str:
    """Return the public names with their docstrings."""
    parts = []
    for name in sorted(menndl_dask._MODULES, key=str.lower):
        value = getattr(menndl_dask, name)
        is_error = isinstance(value, type) and issubclass(value, Exception)
        kind = "autoexception" if is_error else "autoclass" if isinstance(value, type) else "autofunction"
        members = "\n   :members:" if kind == "autoclass" else ""
        parts.append(f"## {name}\n\n```{{eval-rst}}\n.. {kind}:: menndl_dask.{name}{members}\n```\n")
    return "\n".join(parts)
