"""The frozen settings of a run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from menndl_dask.errors import RunError
from menndl_dask.problem import Budget, Limits, Problem
from menndl_dask.run.settings import Settings, freeze, frozen_settings, read_settings
from menndl_dask.space.space import SearchSpace
from tests.problems import problem


def settings(of: Problem | None = None, seed: int = 0, limits: Limits = Limits(), **space: float) -> Settings:
    of = of or problem()
    return frozen_settings(of, SearchSpace.image(of, **space), seed, limits, {"command": "menndl search"})  # type: ignore[arg-type]


def test_what_is_frozen_is_read_back(tmp_path: Path) -> None:
    frozen = settings()
    assert freeze(tmp_path / "run.yaml", frozen) == []
    assert read_settings(tmp_path / "run.yaml") == frozen
    assert frozen["command"] == "menndl search"
    assert frozen["splits"] == {"train": 100, "validation": 20, "test": 20}
    assert "python" in frozen["versions"]


def test_the_same_search_again_is_welcome(tmp_path: Path) -> None:
    freeze(tmp_path / "run.yaml", settings())
    assert freeze(tmp_path / "run.yaml", settings()) == []


@pytest.mark.parametrize(("inherit", "notes"), [(False, 0), (True, 1)])
def test_a_run_that_knew_inherited_weights_is_carried_on_without_them(
    tmp_path: Path, inherit: bool, notes: int
) -> None:
    old = settings()
    old["problem"]["budget"]["inherit"] = inherit
    freeze(tmp_path / "run.yaml", old)
    told = freeze(tmp_path / "run.yaml", settings())
    assert [line for line in told if "inherit was removed" in line] == told
    assert len(told) == notes


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (settings(problem(budget=Budget(epochs=8))), r"problem\.budget\.epochs: expected 1, got 8"),
        (settings(problem(outputs=4)), r"problem\.facts\.outputs: expected 3, got 4"),
        (settings(max_parameters=1e5), r"space\.rules\S*: expected \S+, got \S+"),
        (settings(seed=3), "seed: expected 0, got 3"),
    ],
)
def test_another_search_is_refused_and_what_differs_is_named(tmp_path: Path, other: Settings, told: str) -> None:
    freeze(tmp_path / "run.yaml", settings())
    with pytest.raises(RunError, match=rf"run\.yaml: the run is for another search: .*{told}"):
        freeze(tmp_path / "run.yaml", other)


def test_data_with_another_fingerprint_is_refused_and_the_same_elsewhere_is_not(tmp_path: Path) -> None:
    of = problem()
    here = replace(of, facts=replace(of.facts, fingerprint="abc"))
    freeze(tmp_path / "run.yaml", settings(here))
    assert freeze(tmp_path / "run.yaml", settings(replace(here, data="moved.zarr"))) == []
    changed = replace(here, facts=replace(of.facts, fingerprint="def"))
    with pytest.raises(RunError, match=r"problem\.facts\.fingerprint: expected 'abc', got 'def'"):
        freeze(tmp_path / "run.yaml", settings(changed))


def test_a_run_of_an_earlier_version_that_knew_fewer_settings_is_carried_on(tmp_path: Path) -> None:
    old = settings()
    del old["problem"]["augmentation"], old["problem"]["budget"]["precision"], old["problem"]["budget"]["flops"]
    freeze(tmp_path / "run.yaml", old)
    assert freeze(tmp_path / "run.yaml", settings()) == []
    with pytest.raises(RunError, match=r"problem\.budget\.precision: expected 'float32', got 'bfloat16'"):
        freeze(tmp_path / "run.yaml", settings(problem(budget=Budget(epochs=1, precision="bfloat16"))))


def test_gene_kinds_that_another_version_has_do_not_end_its_runs(tmp_path: Path) -> None:
    old = settings()
    old["space"]["kinds"].remove("Pooling")
    old["space"]["domains"].pop("Pooling")
    freeze(tmp_path / "run.yaml", old)
    with pytest.raises(RunError, match=r"space\.kinds: expected "):
        freeze(tmp_path / "run.yaml", settings())
    old["versions"]["menndl-dask"] = "0.1.0"
    (tmp_path / "run.yaml").unlink()
    freeze(tmp_path / "run.yaml", old)
    kinds = [line for line in freeze(tmp_path / "run.yaml", settings()) if "gene kinds" in line]
    assert len(kinds) == 1
    assert kinds[0].endswith("and proposes them too: space.kinds, space.domains.Pooling")
    with pytest.raises(RunError, match=r"space\.rules\.max_parameters"):
        freeze(tmp_path / "run.yaml", settings(max_parameters=5.0))


def test_a_run_of_a_later_version_that_knows_more_settings_is_refused(tmp_path: Path) -> None:
    later = settings()
    later["problem"]["budget"]["parsecs"] = 12
    freeze(tmp_path / "run.yaml", later)
    with pytest.raises(RunError, match=r"run\.yaml: budget: unknown key 'parsecs'.*; the run is of another version"):
        freeze(tmp_path / "run.yaml", settings())


def test_other_limits_are_allowed_and_told(tmp_path: Path) -> None:
    freeze(tmp_path / "run.yaml", settings())
    assert freeze(tmp_path / "run.yaml", settings(limits=Limits(60))) == ["limits.seconds: at first 3600.0, now 60"]


def test_many_differences_are_counted_rather_than_listed(tmp_path: Path) -> None:
    freeze(tmp_path / "run.yaml", settings())
    with pytest.raises(RunError, match=r"and \d+ more; give the options of before, or another --run"):
        freeze(tmp_path / "run.yaml", settings(problem("segmentation", ((32, 32, 2),), outputs=5)))


@pytest.mark.parametrize("text", ["format: 99", "[1, 2]", "a: b: c"])
def test_settings_that_cannot_be_read_are_an_error_in_a_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(RunError, match=r"run\.yaml: ") as caught:
        read_settings(tmp_path / "run.yaml")
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="expected a run directory"):
        read_settings(tmp_path / "run.yaml")


def test_the_run_that_was_meant_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cells", "stem"):
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "run.yaml").touch()
    for given, hint in (
        ("cells", "did you mean 'runs/cells'?"),  # the name of the run, or of its data, without the folder
        ("cells.zarr", "did you mean 'runs/cells'?"),
        ("runs/cell", "did you mean 'runs/cells'?"),
        ("runs", "it holds runs: cells, stem"),
    ):
        with pytest.raises(RunError, match="there is no run.yaml; " + re.escape(hint)):
            read_settings(Path(given, "run.yaml"))
    with pytest.raises(RunError, match=r"there is no run\.yaml$"):
        read_settings(Path("other/run.yaml"))


@pytest.mark.parametrize("key", ["problem", "space", "seed", "limits"])
def test_a_file_without_one_of_its_keys_is_an_error_in_a_line(tmp_path: Path, key: str) -> None:
    frozen = settings()
    del frozen[key]
    (tmp_path / "run.yaml").write_text(json.dumps(frozen))
    with pytest.raises(RunError, match=f"run.yaml: {key}: expected .*, got no such key"):
        read_settings(tmp_path / "run.yaml")
