"""The documentation: every Python block in it runs, in the order in which it stands."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from menndl_dask.cli.cli import _parser
from menndl_dask.data.data import open_problem
from menndl_dask.evaluation.evaluation import evaluate
from menndl_dask.evaluation.trainer_pool import close
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution
from menndl_dask.problem import Budget, Limits
from menndl_dask.report.report import render
from menndl_dask.result import FAILURES
from tests import stores, stories
from tests.kinds import GroupNormalisation, Noise
from tests.runs import finished, made_up

ROOT = Path(__file__).parent.parent
PAGES = (
    "data", "encoding", "evaluation", "evolution", "formats", "objectives", "performance", "plan", "report", "runs",
    "start",
)  # fmt: skip
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))  # make docs runs them, and fails where a cell does
# not yet: pages with longer sentences
_LONG_WINDED = {"data", "formats", "plan", "results", "runs", "security"}
PLAIN_PAGES = [
    page
    for page in sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *TUTORIALS])
    if page.stem not in _LONG_WINDED
]
PAGES_WITH_LINKS = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *TUTORIALS])
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[str]:
    """Return the Python blocks of a page."""
    return _BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_the_documentation_run(page: str, tmp_path: Path) -> None:
    # what the reader has by then: images, and a run
    stores.write(stores.classification(120), tmp_path / "my_images.zarr", 60)
    stores.write(stores.micrographs(), tmp_path / "micrographs.zarr")
    finished(tmp_path / "runs" / "stem", made_up(12))
    script = []
    for block in blocks(page):
        if module := re.match(r"# (\w+\.py)\n", block):  # a file that the reader is told to write
            (tmp_path / module[1]).write_text(block, encoding="utf-8")
        else:
            script.append(block)
    assert script
    (tmp_path / "script.py").write_text("\n".join(script), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "script.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == 0, done.stderr


_SEARCH = """
from menndl_dask import Budget, Genome, Search, SearchSpace, load_cluster, open_problem
from menndl_dask.genome.layers import Convolution
from my_layers import MySqueezeExcitation
from my_parts import Composed

if __name__ == "__main__":
    problem = open_problem("data.zarr", budget=Budget(steps=4).without_early_stopping())
    space = SearchSpace.image(problem, extra=[MySqueezeExcitation, Composed])
    given = [Genome((Convolution(8), MySqueezeExcitation(4), Composed(2), Convolution(8)))]
    with load_cluster("local", workers=1) as cluster, cluster.client() as client:
        Search(problem, space, "run", initial=given).run(client, evaluations=1)
"""
_ELSEWHERE = """
import sys
from menndl_dask import Run, open_problem, predict
from menndl_dask.search.initial_networks import initial_networks

if __name__ == "__main__":
    there = sys.argv[1]
    best = Run(f"{there}/run").best()
    assert best.individual.genome.unknown_kinds == ["my_layers:MySqueezeExcitation", "my_parts:Composed"]
    print(predict(best.path / "network.keras", f"{there}/data.zarr", "predicted.zarr"))
    assert [type(layer).__name__ for layer in best.model().layers].count("SqueezeExcite") == 1
    (genome,) = initial_networks([str(best.path / "network.keras")], open_problem(f"{there}/data.zarr"))
    print(*(type(layer).__name__ for layer in genome.layers))
"""


def test_the_gene_kinds_of_the_page_are_searched_and_their_networks_used_in_another_folder(tmp_path: Path) -> None:
    (there := tmp_path / "there").mkdir()
    (elsewhere := tmp_path / "elsewhere").mkdir()
    stores.write(stores.classification(60), there / "data.zarr", 60)
    for block in blocks("encoding"):
        if module := re.match(r"# (my_\w+\.py)\n", block):
            (there / module[1]).write_text(block, encoding="utf-8")
    (there / "search.py").write_text(_SEARCH)
    (elsewhere / "use.py").write_text(_ELSEWHERE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path / "state")}
    printed = []
    for folder, words in ((there, ["search.py"]), (elsewhere, ["use.py", str(there)])):
        done = subprocess.run(
            [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False,
            timeout=500,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed[1] == "predicted.zarr\nConvolution MySqueezeExcitation Composed Convolution\n"


def test_a_gene_kind_takes_about_twenty_lines() -> None:
    block = next(b for b in blocks("encoding") if b.startswith("# my_layers.py"))
    body = block[block.index("@dataclass") :]
    assert len([line for line in body.splitlines() if line.strip()]) <= 20


def test_a_gene_kind_of_a_users_own_is_trained_by_a_process_that_finds_it_by_its_name(tmp_path: Path) -> None:
    problem = open_problem(stores.write(stores.classification(120), tmp_path / "data.zarr", 60), budget=Budget(steps=4))
    genome = Genome((Convolution(8), GroupNormalisation(4), Noise(0.1)))
    result = evaluate(Individual(0, genome), problem, Limits(120), scratch=tmp_path)
    close()
    assert result.failure in (None, "no_learning"), result.message
    assert result.costs["parameters"] == cost_of(genome, problem).parameters


def test_every_part_of_the_report_is_explained() -> None:
    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    headings = re.findall(r"<h2>([^<]+)</h2>", render(stories.compared()))
    assert len(headings) >= 8
    assert [heading for heading in headings if f"| {heading} |" not in text] == []
    assert len(FAILURES) == 9


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (ROOT / "docs" / target).exists()


@pytest.mark.parametrize("page", PAGES_WITH_LINKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_sections_lead_to_a_heading(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    assert [(file, name) for file, name in links if name not in _anchors(page.parent / file if file else page)] == []


def _anchors(page: Path) -> set[str]:
    """Return the names under which GitHub links to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES_WITH_LINKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    folders = "menndl_dask|tests|benchmarks|workflows|clusters"
    named = re.findall(rf"\b(?:{folders})/[\w/.]*\w", page.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_page_is_in_the_navigation_of_the_site_once() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```$", index, re.MULTILINE | re.DOTALL)
    listed = [line for tree in trees for line in tree.splitlines() if re.fullmatch(r"(tutorials/)?\w+", line)]
    pages = [page.relative_to(ROOT / "docs").with_suffix("") for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(listed) == sorted(str(page) for page in pages if page.name != "index")


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_is_a_notebook_that_gives_fit_options_that_there_are(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith("---\nfile_format: mystnb\n")
    cells = re.findall(r"^```\{code-cell\} ipython3\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    code = "\n".join(re.sub(r"^(!|:tags:).*", "", cell, flags=re.MULTILINE) for cell in cells)
    for call in (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)):
        if ast.unparse(call.func) == "menndl_dask.fit":
            given = {each.arg for each in call.keywords if each.arg is not None}
            assert given - {"run", "classes", "dims", "fill"} <= set(search_options())
    for line in re.findall(r"^!menndl (.*)", "\n".join(cells), re.MULTILINE):
        words = line.split()
        assert _parser().parse_known_args(words)[0].command == words[0]


def search_options() -> set[str]:
    """Return the options of menndl search with underscores."""
    (commands,) = _parser()._subparsers._group_actions  # type: ignore[union-attr]
    return {action.dest for action in commands.choices["search"]._actions}  # type: ignore[index, call-overload]


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page: of its paragraphs and lists, without code, tables, headings and addresses."""
    text = re.sub(r"\A---\n.*?^---\n", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```.*?^```", "\n\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^(\||#|<!--|!\[).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    for block in re.split(r"\n\s*\n|^\s*(?:[*-]|\d+\.) ", text, flags=re.MULTILINE):
        yield from re.split(r"(?<=[.!?])[*_)]*\s+(?=[^a-z]|`)", " ".join(block.split()))


@pytest.mark.parametrize("page", PLAIN_PAGES, ids=lambda page: page.stem)
def test_a_sentence_has_at_most_thirty_words(page: Path) -> None:
    found = [s for s in sentences(page.read_text(encoding="utf-8")) if " · " not in s]  # no list of links
    assert [s for s in found if len(re.findall(r"[\w`]\S*", s)) > 30] == []


def test_the_messages_of_the_page_are_those_of_the_program() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(messages) > 12
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "menndl_dask").rglob("*.py"))
    parts = [part.strip(" ×") for message in messages for part in message.split("…") if part.strip(" ×")]
    assert [part for part in parts if part not in source] == []


def test_the_architecture_shows_the_order_of_imports_that_is_checked() -> None:
    configuration = ConfigParser()
    configuration.read(ROOT / "setup.cfg", encoding="utf-8")
    layers = configuration["importlinter:contract:families"]["layers"].strip()
    assert f"```\n{layers}\n```" in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
