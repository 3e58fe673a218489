"""Export: what is written answers as the network does, missing values included, without this package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from menndl_dask import Limits, SearchSpace, decode, open_problem
from menndl_dask.cli.cli import main
from menndl_dask.errors import TrainerError, UserError
from menndl_dask.prediction import export as module
from menndl_dask.prediction.export import export
from menndl_dask.prediction.export_process import _Exporter
from menndl_dask.problem import Problem
from menndl_dask.run.settings import freeze, frozen_settings
from menndl_dask.run.signature import Signed
from menndl_dask.space.standard.standard import standard_network
from tests import stores

# Keras itself, when it saves a network, and what its exporters import
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
PAGE = Path(__file__).parents[2] / "docs" / "use.md"


class InThisProcess:
    """Stands in for a child process."""

    def __init__(self, *_: Any) -> None:
        self._answer = _Exporter()

    def ask(self, request: Any, _: float) -> Any:
        try:
            return self._answer(request)
        except Exception as error:
            raise TrainerError(str(error)) from error

    def close(self) -> None:
        pass


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    """Return a problem whose run has a network with random weights."""
    of = open_problem(stores.write(stores.segmentation(), tmp_path / "spots.zarr"))
    (tmp_path / "run").mkdir()
    signed = {"signed": Signed.of(["search"], of.data, None, []).to_dict()}
    freeze(tmp_path / "run" / "run.yaml", frozen_settings(of, SearchSpace.image(of), 0, Limits(), signed))
    keras.utils.set_random_seed(1)
    decode(standard_network(of)[1], of).save(tmp_path / "run" / "best.keras")
    return of


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ChildProcess", InThisProcess)


def test_a_child_process_writes_a_network_that_plain_keras_loads_and_that_replaces_missing_values(
    problem: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert f"written: {tmp_path}/run/export/best.keras: input image (10×12×1); output 10×12×2" in said
    assert "on 4 images of spots.zarr" in said and "in place of missing values (NaN)" in said
    exported = keras.saving.load_model(tmp_path / "run" / "export" / "best.keras", compile=False)
    image = np.full((1, 10, 12, 1), problem.facts.mean[0][0], np.float32)
    missing = image.copy()
    missing[0, 3:5, 2] = np.nan
    assert np.array_equal(exported.predict_on_batch(missing), exported.predict_on_batch(image))
    assert sorted(path.name for path in (tmp_path / "run" / "export").iterdir()) == ["best.keras", "best.keras.md"]


@pytest.mark.parametrize("kind", ["savedmodel", "onnx"])
def test_tensorflow_and_onnx_runtime_answer_as_the_network_does(
    problem: Problem, here: None, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "onnx":
        pytest.importorskip("tf2onnx")
        pytest.importorskip("onnxruntime")
    done = export(tmp_path / "run", tmp_path / "runs" / "mine" / "export" / "best.onnx", kind=kind)
    assert done.path.exists() and done.difference is not None and done.difference <= 1e-5
    assert done.has_means and done.images == "4 images of spots.zarr"
    assert [path.name for path in done.path.parent.iterdir()] == ["best.onnx"]
    if kind == "onnx":
        monkeypatch.chdir(tmp_path)
        (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        names: dict[str, Any] = {}
        exec(block, names)
        assert names["probabilities"].shape == (1, 10, 12, 2)


def test_a_network_for_larger_images_keeps_its_weights(problem: Problem, here: None, tmp_path: Path) -> None:
    done = export(tmp_path / "run", tmp_path / "large.keras", tile=(20, 36))
    assert done.description.inputs == ((20, 36, 1),) and done.description.output == (20, 36, 2)
    assert done.images == "4 random images"  # those of the run are smaller


def test_the_data_that_a_run_of_someone_else_names_is_not_read(problem: Problem, here: None, tmp_path: Path) -> None:
    settings = tmp_path / "run" / "run.yaml"
    settings.unlink()
    freeze(settings, frozen_settings(problem, SearchSpace.image(problem), 0, Limits(), {}))
    assert export(tmp_path / "run", tmp_path / "written.keras").images == "4 random images"


def test_a_network_in_no_run_has_no_means_and_is_compared_on_random_images(
    problem: Problem, here: None, tmp_path: Path
) -> None:
    (tmp_path / "run" / "best.keras").rename(tmp_path / "alone.keras")
    done = export(tmp_path / "alone.keras", tmp_path / "written.keras")
    assert not done.has_means and done.images == "4 random images"
    assert "missing values (NaN) are not replaced" in str(done)


def test_what_answers_otherwise_is_not_written(
    problem: Problem, here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "menndl_dask.prediction.export_process._run", lambda path, kind, views: np.zeros((4, 10, 12, 2))
    )
    with pytest.raises(UserError, match=r"expected outputs equal to 1e-05, got a difference of .* not written"):
        export(tmp_path / "run", tmp_path / "written.keras")
    assert not (tmp_path / "written.keras").exists()


def test_a_missing_converter_or_runtime_is_named_with_the_command_that_installs_it(
    problem: Problem, here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'onnx: needs tf2onnx and onnx, .*: pip install "menndl_dask\[onnx\]"'):
        export(tmp_path / "run", kind="onnx")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nothing.keras"], "nothing.keras: expected a trained network, found no such file"),
        (["{run}", "--output", "{run}/run.yaml"], "run.yaml: expected a name that ends in .keras"),
        (["{run}", "--output", "{run}/best.keras"], "best.keras: expected a new name"),
        (["{run}", "--tile", "7", "8", "9"], "tile: expected one number, or 2, got 7 × 8 × 9"),
    ],
)
def test_a_mistake_is_one_line(
    problem: Problem, tmp_path: Path, words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *(word.format(run=tmp_path / "run") for word in words)]) == 2
    line = capsys.readouterr().err
    assert expected in line and len(line.splitlines()) == 1
