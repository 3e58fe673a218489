"""What is profiled: the best network of a run, or a model whose problem is made up of its shapes."""

from __future__ import annotations

from pathlib import Path

import pytest

from menndl_dask.errors import UserError
from menndl_dask.performance.profile_source import _made_up, profiled_network
from tests import stories
from tests.runs import finished, made_up


def test_of_a_run_it_is_the_best_network_with_the_problem_of_the_run(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", made_up(12))
    name, genome, problem = profiled_network(tmp_path / "run")
    best = run.best().individual
    assert (name, genome, problem) == (f"network {best.id} of {tmp_path / 'run'}", best.genome, stories.STEM)


@pytest.mark.parametrize(
    ("output", "activation", "task"),
    [
        ((10,), "softmax", "classification"),
        ((2,), "linear", "regression"),
        ((32, 32, 3), "softmax", "segmentation"),
    ],
)
def test_the_task_of_a_model_is_read_from_its_output(output: tuple[int, ...], activation: str, task: str) -> None:
    described = {"names": ["a"], "inputs": [(32, 32, 1)], "output": output, "activation": activation}
    problem = _made_up(Path("a.keras"), described)
    assert (problem.task, problem.facts.input_shapes, problem.facts.outputs) == (task, ((32, 32, 1),), output[-1])


def test_what_is_neither_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a run or a \.keras file, got a folder without run\.yaml"):
        profiled_network(tmp_path)
    with pytest.raises(UserError, match=r"nowhere\.keras: expected a file in Keras format"):
        profiled_network(tmp_path / "nowhere.keras")
    described = {"names": ["a"], "inputs": [(None, None, 1)], "output": (3,), "activation": "softmax"}
    with pytest.raises(UserError, match="expected a model of images of one size, got inputs of shape"):
        _made_up(Path("a.keras"), described)
