"""The checks themselves: the targets of `make`, what runs before a commit, and which examples the tests generate."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]


def commands(target: str, *variables: str) -> str:
    """Return the commands that `make` would run for a target."""
    line = ["make", "--dry-run", "--no-print-directory", "--assume-old=.venv/installed-dev", "VENV=.venv"]
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "SEED", "PYTEST")}
    return subprocess.run(
        [*line, *variables, target], cwd=ROOT, env=environment, text=True, capture_output=True, check=True
    ).stdout


@pytest.mark.parametrize("target", ["help", "demo", "check", "test", "fuzz"])
def test_each_target_of_make_is_there_and_explained(target: str) -> None:
    commands(target)
    assert target == "help" or f"make {target} " in commands("help")


def test_the_hook_runs_what_make_test_runs_before_the_tests() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (hook,) = repository["hooks"]
    program, *options, target = hook["entry"].split()
    assert (repository["repo"], hook["language"], hook["pass_filenames"]) == ("local", "system", False)
    assert (program, options) == ("make", ["--no-print-directory"])
    *checks, tests = commands("test").splitlines()
    assert commands(target).splitlines() == checks
    assert all(any(tool in line for line in checks) for tool in ("ruff check", "lint-imports", "mypy"))
    assert "pytest" in tests


def test_the_hook_runs_for_all_that_the_checks_read() -> None:
    hook = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"][0]
    for name in ("menndl_dask/cost.py", "tests/test_checks.py", "setup.cfg", "ruff.toml", "Makefile"):
        assert re.search(hook["files"], name)
    assert not re.search(hook["files"], "docs/cluster.md")


def test_fuzzing_takes_its_seed_and_number_of_examples_and_says_how_to_repeat_it() -> None:
    lines = commands("fuzz", "SEED=7", "EXAMPLES=50")
    assert "-m hypothesis --hypothesis-profile fuzz --hypothesis-seed 7 " in lines
    assert lines.count("make fuzz SEED=7 EXAMPLES=50") == 2
    assert re.search(r"--hypothesis-seed \d{6,}", commands("fuzz"))


def test_the_examples_of_make_test_are_the_same_each_time() -> None:
    assert settings.get_profile("menndl").derandomize
    assert settings.get_profile("menndl").database is None
    assert not settings.get_profile("fuzz").derandomize
    assert "hypothesis-profile" not in commands("test")


# what a test draws, where a module with constants of its own may have been imported before
DRAWN = """
from hypothesis import given, strategies as st
import constants{number}
drawn = []
@given(st.integers(), st.text(max_size=3))
def test_draw(number, text):
    drawn.append((number, text))
def test_print():
    print("drawn:", drawn)
"""


@pytest.mark.parametrize("options", [[], ["--hypothesis-profile=fuzz", "--hypothesis-seed=7"]], ids=["test", "fuzz"])
def test_examples_do_not_depend_on_what_is_imported(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FUZZ_EXAMPLES": "100"}
    drawn = []
    for number in (123456789, 987654321):
        (tmp_path / f"constants{number}.py").write_text(f"NUMBER, TEXT = {number}, '{str(number)[:3]}'")
        (tmp_path / "test_drawn.py").write_text(DRAWN.format(number=number))
        line = [sys.executable, "-m", "pytest", "-s", "-q", "-p", "no:cacheprovider", *options, "test_drawn.py"]
        done = subprocess.run(line, cwd=tmp_path, env=environment, text=True, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
        drawn += re.findall(r"drawn: .*", done.stdout)
    assert len(drawn) == 2
    assert drawn[0] == drawn[1]


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_oldest_versions_are_those_that_are_allowed() -> None:
    text = "[options]\ninstall_requires =\n    zarr>=3.1.3\n    numcodecs>=0.16.6,!=0.17.0\n"
    assert _script("oldest").oldest(text) == ["zarr==3.1.3", "numcodecs==0.16.6"]
    assert _script("oldest").oldest((ROOT / "setup.cfg").read_text())
    with pytest.raises(SystemExit, match="expected name>=version"):
        _script("oldest").oldest(text.replace("zarr>=3.1.3", "zarr"))


def test_an_audit_without_data_is_no_success() -> None:
    verdict = _script("audit").verdict
    assert verdict("") == ("audit: NOT DONE: the data of known vulnerabilities cannot be reached from here", 0)
    skipped = {"name": "zarr", "skip_reason": "not found"}
    assert verdict(json.dumps({"dependencies": [skipped]})) == verdict("")
    known = {"id": "CVE-1", "fix_versions": ["2"], "aliases": [], "description": ""}
    bad = {"name": "dask", "version": "1", "vulns": [known]}
    text, status = verdict(json.dumps({"dependencies": [skipped, bad, {"name": "keras", "version": "3", "vulns": []}]}))
    assert status == 1
    assert text == (
        "audit: 2 packages were audited, 1 could not be; known vulnerabilities: 1\n  dask 1: CVE-1, mended in 2"
    )
