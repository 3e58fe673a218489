"""What the command line says of a mistake: one line, with the nearest known word."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from menndl_dask.cli.cli import _parser, main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("serach", "data.zarr"), "got 'serach'; did you mean 'search'?"),
        (("check", "data.zarr", "--flosp", "3"), "unknown on the command line: '--flosp 3'; did you mean '--flops'?"),
        (("check", "data.zarr", "--memory-limit", "4GB"), "--memory-limit: expected a number, got '4GB'"),
        (("check", "data.zarr", "--hours", "nan"), "--hours: expected a number of at most 1e+30, got 'nan'"),
        (("check", "data.zarr", "--epochs", "1e400"), "--epochs: expected a number of at most 1e+30, got '1e400'"),
        (("predict", "a", "b", "c", "--tile", "9" * 10_000), "--tile: expected an integer, got '999"),
        (("stop",), "the following arguments are required: run"),
        (("cluster", "chek"), "expected one of check, script, schema, got 'chek'; did you mean 'check'?"),
    ],
)
def test_a_mistyped_command_line_is_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    line = capsys.readouterr().err
    assert end.value.code == 2
    assert said in line
    assert line.startswith("menndl")
    assert line.count("\n") == 1
    assert len(line) <= 500


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "menndl convert my_images.npz my_images.zarr" in capsys.readouterr().out


def menndl(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", script.replace("MENNDL", f"{sys.executable} -m menndl_dask.cli")]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, errors="replace")


def test_a_current_directory_that_has_gone_is_one_line(tmp_path: Path) -> None:
    done = menndl(f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; MENNDL cluster script local")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("menndl: expected a current directory, got one that cannot be used")


def test_a_file_name_that_is_not_utf_8_is_one_line_in_any_encoding() -> None:
    done = menndl("MENNDL check $'odd\\xff.zarr'", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "odd?.zarr: expected a Zarr store, found no such directory" in done.stderr


@pytest.mark.parametrize("module", ["menndl_dask", "menndl_dask.cli"])
def test_the_module_is_the_command_too(module: str) -> None:
    command = [sys.executable, "-m", module, "serach", "data.zarr"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("menndl: ")
    assert "did you mean 'search'?" in done.stderr


def test_the_commands_of_the_pages_on_use_are_understood() -> None:
    page = (Path(__file__).parents[2] / "docs" / "use.md").read_text(encoding="utf-8")
    commands = re.findall(r"^menndl (.*)$", page, re.MULTILINE)
    assert len(commands) >= 8
    for command in commands:
        assert _parser().parse_args(shlex.split(command)).function is not None
