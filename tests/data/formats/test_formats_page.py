"""The page of formats: its Python blocks write files, its commands convert them, and stores can be opened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from menndl_dask.cli.cli import main
from menndl_dask.data.formats.layouts.layouts import LAYOUTS
from menndl_dask.data.formats.readers.readers import FORMATS
from tests.keras_cache import write_fashion

PAGE = (Path(__file__).parents[3] / "docs" / "formats.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_example_writes_a_file_and_converts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(write_fashion(tmp_path / "home")))
    names: dict[str, Any] = {}
    commands = 0
    for language, code in BLOCK.findall(PAGE):
        if language == "python":
            exec(compile(code, "formats.md", "exec"), names)
            continue
        for line in code.splitlines():
            if line.startswith("menndl "):
                assert main(line.split()[1:]) == 0
                commands += 1
    said = capsys.readouterr().out
    assert commands == 8
    assert "image: size of a pixel [2.0, 0.25, 0.25]" in said
    assert "image: size of a pixel [40.0, 4.0, 4.0]" in said
    assert re.search(r"cell \d+\.\d%, membrane", said)
    assert re.search(r"clear \d+\.\d%, cloud \d+\.\d%", said)


def test_the_page_names_every_layout_and_the_endings_of_files() -> None:
    assert [name for name in LAYOUTS if f"| `{name}` |" not in PAGE] == []
    shown = set(re.findall(r"`(\.[\w.]+)`", PAGE))
    assert shown - {".SAFE"} <= set(FORMATS)
