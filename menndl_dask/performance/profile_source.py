"""The network that is to be profiled: the best of a run, or a file in Keras's format. Runs on the driver."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from menndl_dask import own_code
from menndl_dask.errors import TrainerError, UserError
from menndl_dask.evaluation.child_process import ChildProcess
from menndl_dask.genome.gene import kind_name, kinds_of_users
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.network_file import check_format, code_at_hand
from menndl_dask.prediction.ensemble import run_of
from menndl_dask.problem import Budget, Facts, Problem
from menndl_dask.run.run import Run
from menndl_dask.run.settings import FILE
from menndl_dask.run.signature import allow_signed

_ANSWER_S = 600.0  # for importing Keras and reading a model


class ProfiledNetwork(NamedTuple):
    """A network by its name, its genome, and what it is for."""

    name: str
    genome: Genome
    problem: Problem


def profiled_network(path: Path) -> ProfiledNetwork:
    """Return the best network of a run, or that of a ``.keras`` file.

    A file in a run is measured with the problem of the run. For another one the problem is made up of the shapes of its
    inputs and outputs.

    Raises
    ------
    UserError
        If it is neither, or the model has a layer that no gene describes.
    RunError
        If no network of the run has succeeded.
    """
    if path.is_dir():
        if not (path / FILE).is_file():
            raise UserError(f"{path}: expected a run or a .keras file, got a folder without {FILE}")
        run = Run(path)
        allow_signed(run.settings)
        individual = run.best().individual
        return ProfiledNetwork(f"network {individual.id} of {path}", individual.genome, _problem_of(run))
    check_format(path)
    found_in = run_of(path)
    if found_in is not None:
        allow_signed(found_in.settings)
    encoded, described = _read(path)
    problem = _made_up(path, described) if found_in is None else _problem_of(found_in)
    return ProfiledNetwork(str(path), Genome.from_dict(encoded), problem)


def _problem_of(run: Run) -> Problem:
    if run.problem is None:
        raise UserError(f"{run.path}: expected a run on images, got one with a function of its own")
    return run.problem


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the genome of a model as plain values, and its description."""
    child = ChildProcess("menndl_dask.prediction.model_process")
    kinds = tuple(map(kind_name, kinds_of_users()))
    imports = tuple(dict.fromkeys([*own_code.allowed(), *code_at_hand(path)]))
    try:
        described = child.ask(("load", [str(path.resolve())], None, imports, ()), _ANSWER_S)
        return child.ask(("encode", str(path.resolve()), imports, kinds), _ANSWER_S), described
    except TrainerError as error:
        why = str(error).removeprefix(f"{path.resolve()}: ")
        raise UserError(f"{path}: no genome can be made of this model: {why}") from error
    finally:
        child.close()


def _made_up(path: Path, described: dict[str, Any]) -> Problem:
    """Return a problem with the inputs and outputs of a model."""
    shapes, output = described["inputs"], described["output"]
    if any(n is None for shape in (*shapes, output) for n in shape):
        got = ", ".join(map(str, shapes))
        raise UserError(f"{path}: expected a model of images of one size, got inputs of shape {got}")
    outputs = output[-1]
    probabilities = "softmax" in described["activation"]
    task = "segmentation" if len(output) > 1 else "classification" if probabilities else "regression"
    facts = Facts(input_shapes=tuple(map(tuple, shapes)), outputs=outputs)
    if task == "regression":
        facts = replace(facts, label_mean=(0.0,) * outputs, label_variance=(1.0,) * outputs)
    names = tuple(described["names"])
    return Problem(str(path), task, facts, inputs=names, normalisation="none", budget=Budget(epochs=1))
