"""Functions of a user's own, named on the command line: found in the current directory, and told when misspelt."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from menndl_dask.cli import cli
from menndl_dask.cli.problem import add_problem_options, read_problem
from menndl_dask.errors import UserError
from menndl_dask.problem import Problem
from tests import stores

OWN = '''
def overlap(labels, predictions):
    return 1.0
'''


def _read(*words: str, **settings: object) -> Problem:
    parser = argparse.ArgumentParser()
    add_problem_options(parser)
    return read_problem(parser.parse_args(["data.zarr", *words]), **settings)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    stores.write(stores.segmentation(), tmp_path / "data.zarr")
    (tmp_path / "areas.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "broken.py").write_text("raise ValueError('no such table')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_an_own_function_in_the_current_directory_is_accepted(folder: Path) -> None:
    assert _read("--metric", "areas:overlap").metric == "areas:overlap"


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        (["--metric", "areas:overlp"], {}, "metric: module 'areas' has no 'overlp'; did you mean 'overlap'"),
        (["--loss", "area:overlap"], {}, "loss: 'area:overlap': expected a module 'area' .*; did you mean 'areas'"),
        ([], {"augmentation": ("broken:Turn",)}, "augment: 'broken:Turn': module 'broken' cannot be .*: ValueError"),
    ],
)
def test_a_mistake_in_an_own_function_is_told_before_the_data_is_read(
    folder: Path, words: list[str], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        _read(*words, **settings)


def test_the_command_line_has_the_current_directory_on_its_import_path_where_it_names_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ["/somewhere"]
    monkeypatch.setattr("sys.path", paths)
    assert cli.main(["search", "none.zarr", "--cluster", "local"]) == 2
    assert paths == ["/somewhere"]  # a folder that someone handed over may hold a module of any name
    assert cli.main(["search", "none.zarr", "--loss", "areas:overlap", "--cluster", "local"]) == 2
    assert paths[-1] == str(folder)
    assert "none.zarr" in capsys.readouterr().err


def test_a_mistake_in_the_profile_is_told_before_the_data_is_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("search", "check"):
        assert cli.main([command, "none.zarr", "--cluster", "sluurm"]) == 2
        assert "did you mean 'slurm'" in capsys.readouterr().err


def test_a_folder_of_images_is_told_how_to_convert_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pets").mkdir()
    assert cli.main(["check", "pets"]) == 2
    assert "convert images of other formats: menndl convert pets pets.zarr" in capsys.readouterr().err
