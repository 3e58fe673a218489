"""The page of data: its Python blocks write files, its commands convert them, and it names every option."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import zarr

from menndl_dask.cli.cli import main
from menndl_dask.data.data import open_problem
from menndl_dask.data.formats.conversion_options import Options

PAGE = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
CONVERTING = PAGE[PAGE.index("## Converting") :]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_example_writes_a_file_and_converts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for language, code in BLOCK.findall(PAGE):
        if language == "python":
            exec(compile(code, "data.md", "exec"), names)
    capsys.readouterr()
    assert main(["convert", "my_images.npz", "my_images.zarr"]) == 0
    printed = capsys.readouterr().out
    assert printed == next(code for language, code in BLOCK.findall(CONVERTING) if code.startswith("written: "))
    commands = re.findall(r"^menndl (convert .*)$", CONVERTING, re.MULTILINE)
    for command in commands:
        assert main(shlex.split(command)) == 0
    said = capsys.readouterr().out
    assert len(commands) == 5
    assert "sizes differ and are kept" in said
    assert "3 positions became discs of radius 4 pixels, by the column file" in said
    assert "3 positions became Gaussians of height 1 with sigma 2 pixels" in said
    assert "within 2 pixels of another number" in said
    assert zarr.open_group("plates.zarr", mode="r")["samples/00003/label"].attrs["classes"] == ["background", "defect"]
    assert open_problem("chips.zarr", group="source_image").facts.classes == ("no defect", "defect")
    assert open_problem("heat.zarr").facts.pixel_values


def test_the_page_names_every_option() -> None:
    options = {field.name.replace("_", "-") for field in fields(Options)}
    assert {name for name in options if f"--{name}" not in CONVERTING} == set()
