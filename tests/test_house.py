"""What drifts: that the files around the code and the code itself say the same."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import menndl_dask

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "menndl_dask"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in SOURCES]
PLACES = re.compile(r"\b(Pure\.|Runs )")

# needed though our code never imports them
UNIMPORTED = {
    "bokeh",  # without it Dask serves no dashboard
    "numcodecs",  # the codecs of Zarr, of which earlier versions run code
    "cryptography",  # with it Dask encrypts what workers and scheduler say
    "tensorflow",  # the framework that Keras computes with
}
CONDA_NAMES = {"dask": "dask-core"}


def configuration() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(text: str) -> dict[str, Requirement]:
    found = [Requirement(line) for line in text.splitlines() if line.strip()]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def installed() -> dict[str, Requirement]:
    return requirements(configuration()["options"]["install_requires"])


def extra(name: str) -> dict[str, Requirement]:
    return requirements(configuration()["options.extras_require"][name])


def imported(paths: Iterable[Path]) -> dict[str, set[str]]:
    """Return the distributions that Python files import, each with the files that do."""
    distributions = packages_distributions()
    ours = {"menndl_dask", "tests", "benchmarks", *(path.stem for path in (ROOT / "workflows").glob("*.py"))}
    found: dict[str, set[str]] = {}
    for path in paths:
        for name in _imports(path):
            if name not in ours and name not in sys.stdlib_module_names:
                distribution = canonicalize_name(distributions.get(name, [name])[0])
                found.setdefault(distribution, set()).add(str(path.relative_to(ROOT)))
    return found


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0]


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def run_python(code: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- dependencies ---------------------------------------------------------------------------------------------------


def test_the_package_imports_exactly_what_it_requires() -> None:
    needed = imported(SOURCES)
    optional = {name for kind in ("completion", "formats", "onnx", "jax", "torch") for name in extra(kind)}
    assert set(needed) - optional | UNIMPORTED == set(installed()), needed
    assert set(extra("formats")) <= set(needed) | _used_through_others(), needed


def _used_through_others() -> set[str]:
    """Return the formats that another library reads for us, by its name for them."""
    text = "".join(path.read_text() for path in SOURCES)
    return {name for name in extra("formats") if re.search(rf"engine=['\"]{name}", text)}


def test_workflows_need_no_more_than_the_package() -> None:
    needed = imported((ROOT / "workflows").glob("*.py"))
    assert set(needed) <= {*installed(), *extra("em")}, needed


def test_tests_need_no_more_than_the_tools_bring() -> None:
    needed = imported((ROOT / "tests").glob("*.py"))
    assert set(needed) <= {*installed(), *extra("formats"), *extra("dev")}, needed


def test_what_an_install_without_tensorflow_needs_is_in_step() -> None:
    needed = requirements(re.sub(r"(?m)#.*$", "", (ROOT / "requirements-without-tensorflow.txt").read_text()))
    assert needed == {name: each for name, each in installed().items() if name != "tensorflow"}


def test_the_conda_environment_is_in_step() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert environment[-1] == {"pip": ["-e ."]}
    expected = {f"python{configuration()['options']['python_requires']}", "pip"}
    expected |= {f"{CONDA_NAMES.get(name, name)}{need.specifier}" for name, need in installed().items()}
    assert set(environment[:-1]) == expected


def test_the_conda_recipe_is_in_step_with_the_conda_environment() -> None:
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "meta.yaml").read_text().replace("{{ PYTHON }}", "python"))
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    needed = {each.replace(" ", "") for each in recipe["requirements"]["run"]}
    assert needed == {each for each in environment if isinstance(each, str)} - {"pip"}
    assert recipe["package"]["version"] == menndl_dask.__version__


def test_dependencies_are_lower_bounds() -> None:
    extras = [extra(name) for name in configuration()["options.extras_require"]]
    for requirement in [need for found in (installed(), *extras) for need in found.values()]:
        bounds = {bound.operator for bound in requirement.specifier}
        assert bounds - {"!="} == {">="} or requirement.name == "menndl_dask", requirement


def test_everything_in_the_package_is_installed() -> None:
    options = configuration()["options"]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES}
    assert folders | {"menndl_dask.clusters"} == set(options["packages"].split())
    data = configuration()["options.package_data"]
    others = {p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    for package, names in data.items():
        if package != "menndl_dask.clusters":
            others -= {ROOT.joinpath(*package.split("."), name) for name in names.split()}
    assert others == set()


def test_pyproject_holds_nothing_but_the_build_system() -> None:
    assert list(tomllib.loads((ROOT / "pyproject.toml").read_text())) == ["build-system"]


# --- words ----------------------------------------------------------------------------------------------------------


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert menndl_dask.__version__ == citation["version"] == newest[1]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_first_what_it_is_and_where_it_runs(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, "expected a docstring"
    if path.name != "__init__.py":
        assert PLACES.search(docstring.partition("\n\n")[0]), docstring.partition("\n")[0]


def test_modules_that_say_they_are_pure_are_held_to_it() -> None:
    pure = {name for name, path in zip(MODULES, SOURCES, strict=True) if _says_pure(path)}
    assert pure == set(configuration()["importlinter:contract:pure"]["source_modules"].split())


def _says_pure(path: Path) -> bool:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return "Pure." in docstring.partition("\n\n")[0]


def test_names_of_modules_in_texts_are_modules() -> None:
    """They start processes and load modules late, so a module that moves would leave them behind."""
    texts = {
        node.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    named = {text for text in texts if re.fullmatch(r"menndl_dask(\.\w+)+", text)}
    assert named
    assert {name for name in named if importlib.util.find_spec(name) is None} == set()


# --- structure ------------------------------------------------------------------------------------------------------


def test_no_folder_holds_more_than_sixteen_modules() -> None:
    folders = {path.parent for path in SOURCES}
    sizes = {folder: sum(p.name != "__init__.py" for p in folder.glob("*.py")) for folder in folders}
    assert {str(folder): size for folder, size in sizes.items() if size > 16} == {}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_function_is_longer_than_sixty_lines(path: Path) -> None:
    """Its docstring, which lists the parameters of public ones, is not counted."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    functions = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, kinds)]
    assert [function.name for function in functions if _lines(function) > 60] == []


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def test_the_families_stand_on_at_most_eleven_ranks() -> None:
    layers = configuration()["importlinter:contract:families"]["layers"].split("\n")
    assert len([line for line in layers if line.strip()]) <= 11


def test_tests_mirror_the_package() -> None:
    """Each test file in a family's folder is about a module there, or says in its first line what else it is about."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        folder = path.relative_to(ROOT / "tests").parent
        if str(folder) not in (".", "benchmarks", "workflows", "site", "faults", "fuzz"):
            assert (PACKAGE / folder).is_dir(), path


# --- README ---------------------------------------------------------------------------------------------------------


def test_the_readme_begins_with_the_commands_that_ci_types() -> None:
    demo, test, own = blocks("sh")[:3]
    assert (demo, test) == ("make demo\n", "make test\n")
    assert own.startswith("pip install .\n")


def test_every_shell_command_of_the_readme_exists() -> None:
    from menndl_dask.cli.cli import _parser

    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in "".join(blocks("sh")).splitlines():
        program, *arguments = line.partition("#")[0].split()
        if program == "make":
            assert set(arguments) <= set(targets), line
        elif program == "menndl":
            _parser().parse_args(arguments)
        else:
            assert (program, *arguments) == ("pip", "install", "."), line


def test_the_readme_imports_public_names() -> None:
    for block in blocks("python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "menndl_dask":
                assert {alias.name for alias in node.names} <= set(menndl_dask.__all__)


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


# --- imports --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", menndl_dask.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(menndl_dask, name) is not None
    assert name in dir(menndl_dask)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Evolutoin"):
        menndl_dask.Evolutoin  # noqa: B018


def test_importing_the_package_loads_no_framework(tmp_path: Path) -> None:
    code = "import sys, menndl_dask; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(run_python(code, tmp_path).split())
    assert not loaded & {"keras", "tensorflow", "dask", "distributed", "xarray", "zarr", "numpy"}


def test_the_command_line_loads_no_keras(tmp_path: Path) -> None:
    code = "import sys, menndl_dask.cli.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(run_python(code, tmp_path).split())
    assert not loaded & {"keras", "tensorflow"}


EFFECTS = """
import asyncio, importlib, logging, os, pathlib, signal, threading, warnings
import distributed, keras, sklearn, tensorflow, xarray, zarr  # what these do is theirs
def state():
    loggers = [logging.getLogger(), logging.getLogger("menndl_dask")]
    return (sorted(pathlib.Path().rglob("*")), dict(os.environ), [(list(l.handlers), l.level) for l in loggers],
            threading.active_count(), signal.getsignal(signal.SIGINT), list(warnings.filters),
            asyncio._get_running_loop(), keras.config.get_config()
            if hasattr(keras.config, "get_config") else keras.config.floatx())
before = state()
for name in {modules!r}:
    importlib.import_module(name)
after = state()
assert before == after, (before, after)
"""


def test_importing_any_module_has_no_effect(tmp_path: Path) -> None:
    run_python(EFFECTS.format(modules=MODULES), tmp_path)
