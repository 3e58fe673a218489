"""A search in one call: images in memory and options become the command, and mistakes one clear line."""

from __future__ import annotations

import asyncio
import os
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import menndl_dask
from menndl_dask.cli import search
from menndl_dask.cluster.unguarded import EXIT_CODE
from menndl_dask.errors import UserError
from menndl_dask.notebook import fit as module
from menndl_dask.run.run import Run
from tests import stores
from tests.runs import finished, made_up
from tests.test_docs import blocks

IMAGES = np.random.default_rng(0).normal(size=(60, 8, 8))
LABELS = np.array(["a", "b", "c"] * 20)


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return a list to which each search adds its words; none is searched."""
    monkeypatch.chdir(tmp_path)
    found: list[list[str]] = []

    def searched(given: Any, typed: list[str]) -> int:
        found.append(typed)
        given.run = tmp_path / "runs" / "mine"
        finished(given.run, made_up(2))
        return 0

    monkeypatch.setattr(search, "search", searched)
    return found


def test_a_worker_that_imports_a_script_without_the_guard_plans_no_search(
    words: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(os, "_exit", leave)
    (tmp_path / "script.py").write_text("import menndl_dask\nmenndl_dask.fit('data.zarr')\n")
    with pytest.raises(SystemExit, match=f"^{EXIT_CODE}$"):
        runpy.run_path(str(tmp_path / "script.py"), run_name="__mp_main__")
    assert words == []


def test_options_become_the_words_of_the_command(words: list[list[str]]) -> None:
    run = menndl_dask.fit(
        "data.zarr", run="runs/mine", hours=np.float32(0.5), augment=["flip", "rotate=15"], patch=(16, 32),
        deterministic=True, training=False, epochs=None, learning_rate=-1,
    )  # fmt: skip
    assert words == [
        ["search", "data.zarr", "--hours=0.5", "--augment=flip,rotate=15", "--patch", "16", "32", "--deterministic",
         "--learning-rate=-1", "--run", "runs/mine"],
    ]  # fmt: skip
    assert len(list(run.evaluations)) == 2


def test_images_in_memory_are_written_once_beside_the_run(words: list[list[str]], tmp_path: Path) -> None:
    for _ in range(2):
        menndl_dask.fit(IMAGES, LABELS, run="here/mine")
        menndl_dask.fit(IMAGES, LABELS)
    (here,) = (tmp_path / "here").glob("images-*.zarr")
    (usual,) = (tmp_path / "runs").glob("images-*.zarr")
    assert [each[1] for each in words] == [f"here/{here.name}", f"runs/{usual.name}"] * 2
    menndl_dask.fit(IMAGES, LABELS, classes=["c", "b", "a"])  # other class numbers: another store
    assert len(list((tmp_path / "runs").glob("images-*.zarr"))) == 2


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"hour": 1}, "hour: expected an option of menndl search with underscores; did you mean 'hours'?"),
        ({"hours": "long"}, "fit: argument --hours: expected a number, got 'long'"),
        ({"loss": sum}, "loss: expected the name of a function that workers can import"),
        ({"task": "clasification"}, "did you mean 'classification'?"),
        ({"deterministic": 1}, "deterministic: expected True or False, got 1"),
        ({"hours": True}, "hours: expected a word or a number, got bool"),
        ({"classes": "abc"}, "classes: expected a list of words, got 'abc'"),
        ({"images": "data.zarr"}, "labels: expected only beside images in memory"),
        ({"images": "data.zarr", "labels": None, "fill": 0}, "fill: expected only beside images in memory"),
        ({"labels": None}, "labels: expected an array beside the images, got None"),
    ],
)
def test_a_mistake_is_one_line(words: list[list[str]], given: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as caught:
        menndl_dask.fit(**{"images": IMAGES, "labels": LABELS, **given})
    assert line in str(caught.value)
    assert words == []


def test_the_examples_of_the_page_run_where_an_event_loop_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    stores.write(stores.classification(60), tmp_path / "my_images.zarr", 60)
    names: dict[str, Any] = {"__name__": "__main__"}

    async def page() -> None:
        for block in blocks("python"):
            exec(block, names)

    asyncio.run(page())
    fitted = Run("runs/brightness")
    assert len(fitted.comparisons) == 2
    assert "on test" in fitted.headline
    assert (fitted.path / "report.html").exists()
    assert names["model"].count_params() > 0
    assert fitted.settings["command"].startswith("menndl search runs/images-")
    assert names["result"].succeeded == (names["result"].fitness is not None)


def test_the_documented_options_of_images_are_those_of_a_conversion() -> None:
    options = module._of_images({"classes": ["a", "b"], "dims": ["sample", "y", "x"], "fill": 3})
    assert (options.classes, options.dims, options.fill) == (("a", "b"), ("sample", "y", "x"), 3)
