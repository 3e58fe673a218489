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


@pytest.mark.parametrize("words", [[], ["cluster", "check"]])
def test_help_is_a_command_too(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["help", *words])
    assert capsys.readouterr().out.startswith(f"usage: {' '.join(['menndl', *words])} [")


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "quick start:" in shown
    assert "menndl convert my_images.npz my_images.zarr" in shown


WITHOUT_LIBRARIES = """
import io, sys
before = set(sys.modules)  # an environment may load parts of its own at the start, such as setuptools
from contextlib import redirect_stdout
from menndl_dask.cli.cli import _parser, main
def named(parser, *words):
    yield words
    for action in () if parser._subparsers is None else parser._subparsers._group_actions:
        for name, nested in action.choices.items():
            yield from named(nested, *words, name)  # such as cluster check
found = list(named(_parser()))
assert ("cluster", "check") in found
with redirect_stdout(io.StringIO()):
    for words in found:
        try:
            main([*words, "--help"])
        except SystemExit:
            pass
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*loaded - set(sys.stdlib_module_names), file=sys.__stdout__)
"""


def test_the_help_of_every_command_loads_no_library(tmp_path: Path) -> None:
    # each takes a large part of a second of a processor, before a user reads a word or a shell completes one
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", WITHOUT_LIBRARIES]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True)
    loaded = {name for name in done.stdout.split() if not name.startswith("__")}
    assert loaded == {"menndl_dask"}, "import what a command needs in its function, not at the top of its module"


def test_a_shell_completes_commands_and_options() -> None:
    pytest.importorskip("argcomplete")
    asked = {"_ARGCOMPLETE": "1", "COMP_TYPE": "9", "_ARGCOMPLETE_SUPPRESS_SPACE": "1"}
    for line, expected in (("menndl sea", "search"), ("menndl predict --ens", "--ensemble")):
        where = {"COMP_LINE": line, "COMP_POINT": str(len(line))}
        done = menndl("MENNDL 8>&1 9>/dev/null >/dev/null", **asked, **where)
        assert done.stdout.strip() == expected


def test_what_a_shell_needs_for_completion_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("argcomplete")
    assert main(["completion", "bash"]) == 0
    assert "complete" in capsys.readouterr().out
    monkeypatch.setattr("menndl_dask.cli.cli.find_spec", lambda name: None)
    assert main(["completion", "zsh"]) == 2
    assert capsys.readouterr().err == "menndl: completion needs argcomplete: pip install 'menndl_dask[completion]'\n"


def test_a_damaged_configuration_of_dask_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("a: [1")
    done = menndl("MENNDL cluster script slurm", DASK_CONFIG=str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("menndl: the configuration of Dask (a file in ~/.config/dask")


def test_a_folder_of_images_is_told_from_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pets").mkdir()
    assert main(["check", str(tmp_path / "pets")]) == 2
    assert "convert images of other formats: menndl convert" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["search", "check"])
def test_an_unknown_cluster_is_told_before_the_data_is_read(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "nowhere.zarr", "--cluster", "sluurm"]) == 2
    assert "cluster 'sluurm': expected" in capsys.readouterr().err


def test_hardly_anything_is_imported_before_signals_are_handled() -> None:
    root = str(Path(__file__).parents[2])
    code = f"import sys; sys.path.insert(0, {root!r}); import menndl_dask.cli.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert {"menndl_dask.cli.__main__", "typing", "argparse"} & set(done.stdout.split()) == {"menndl_dask.cli.__main__"}


def menndl(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", script.replace("MENNDL", f"{sys.executable} -m menndl_dask.cli")]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, errors="replace")


def test_a_run_that_cannot_be_made_is_told_before_the_data_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["search", str(tmp_path / "no data.zarr"), "--run", str(tmp_path / "file" / "run")]) == 2
    assert "expected a run directory, got a file of that name or on the way to it" in capsys.readouterr().err


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
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("menndl: ")
    assert "did you mean 'search'?" in done.stderr


def test_the_commands_of_the_pages_on_use_are_understood() -> None:
    page = (Path(__file__).parents[2] / "docs" / "use.md").read_text(encoding="utf-8")
    commands = re.findall(r"^menndl (.*)$", page, re.MULTILINE)
    assert len(commands) >= 8
    for command in commands:
        assert _parser().parse_args(shlex.split(command)).function is not None
