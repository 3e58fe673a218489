"""What a newcomer gives by mistake to the public names: one clear line says what was expected."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import menndl_dask
from menndl_dask import (
    Budget,
    Evolution,
    Genome,
    Individual,
    Limits,
    Problem,
    Run,
    Search,
    SearchSpace,
    cost_of,
    evaluate,
    fit,
    headline,
    integer,
    load_cluster,
    open_problem,
    plan_search,
    predict,
    real,
)
from menndl_dask.errors import MenndlError
from menndl_dask.genome.layers import Convolution
from menndl_dask.problem import Facts
from tests.problems import problem
from tests.runs import finished, made_up


class Tensor:
    """As one of PyTorch: it has a shape and is no array of NumPy."""

    shape = (2, 3)

    def __repr__(self) -> str:
        return "tensor([[0., 0., 0.],\n        [0., 0., 0.]])"


WRONG: dict[str, Any] = {
    "None": None,
    "a number": 3.5,
    "a path that is not there": "not/there.at_all",
    "a list of numbers": [1, 2],
    "a table": xr.Dataset({"fitness": ("sample", [1, 2])}).to_dataframe(),
    "an array": np.zeros((2, 3)),
    "a tensor": Tensor(),
    "a dict": {"a": 1},
}
GENOME = Genome((Convolution(8),))
PROBLEM = problem()
SPACE = SearchSpace.image(PROBLEM)
_FIELDS = {name: getattr(PROBLEM, name) for name in ("data", "task", "facts")}
_FACTS = {name: getattr(PROBLEM.facts, name) for name in ("input_shapes", "outputs")}

# the function, and the argument that is wrong
CALLS: dict[str, Callable[[Any], Any]] = {
    "Genome": Genome,
    "Genome.connect layers": lambda wrong: Genome.connect(wrong, [(-1,)]),
    "Genome.connect sources": lambda wrong: Genome.connect([Convolution(8)], wrong),
    "Genome.from_dict": Genome.from_dict,
    "Individual id": lambda wrong: Individual(wrong, GENOME),
    "Individual genome": partial(Individual, 0),
    "cost_of genome": lambda wrong: cost_of(wrong, PROBLEM),
    "cost_of problem": partial(cost_of, GENOME),
    "evaluate individual": lambda wrong: evaluate(wrong, PROBLEM),
    "evaluate problem": partial(evaluate, Individual(0, GENOME)),
    "evaluate limits": partial(evaluate, Individual(0, GENOME), PROBLEM),
    "headline": headline,
    "Run": Run,
    "plan_search problem": partial(plan_search, trial=False),
    "Problem facts": lambda wrong: Problem(**{**_FIELDS, "facts": wrong}),
    "Problem task": lambda wrong: Problem(**{**_FIELDS, "task": wrong}),
    "Problem inputs": lambda wrong: Problem(**_FIELDS, inputs=wrong),
    "Problem budget": lambda wrong: Problem(**_FIELDS, budget=wrong),
    "Facts input_shapes": lambda wrong: Facts(**{**_FACTS, "input_shapes": wrong}),
    "Facts outputs": lambda wrong: Facts(**{**_FACTS, "outputs": wrong}),
    "Search space": partial(Search, PROBLEM),
    "Search initial": lambda wrong: Search(PROBLEM, SPACE, initial=wrong),
    "Search limits": lambda wrong: Search(PROBLEM, SPACE, limits=wrong),
    "SearchSpace.image": SearchSpace.image,
    "SearchSpace.sample": SPACE.sample,
    "SearchSpace.contains": SPACE.contains,
    "SearchSpace.violation": SPACE.violation,
    "Evolution space": Evolution,
    "Evolution screen": lambda wrong: Evolution(SPACE, screen=wrong),
    "Evolution objectives": lambda wrong: Evolution(SPACE, objectives=wrong),
    "Evolution.tell individual": lambda wrong: Evolution(SPACE).tell(wrong, wrong),
    "Evolution.has_seen": Evolution(SPACE).has_seen,
    "Budget steps": lambda wrong: Budget(steps=wrong, epochs=wrong),
    "Budget.times": Budget(steps=1).times,
    "Limits seconds": Limits,
    "load_cluster profile": load_cluster,
    "load_cluster workers": lambda wrong: load_cluster("local", workers="two" if wrong is None else wrong),
    "load_cluster backend": lambda wrong: load_cluster("local", backend=3 if wrong is None else wrong),
    "open_problem": open_problem,
    "predict model": lambda wrong: predict(wrong, "images.zarr", "predicted.zarr"),
    "fit images": fit,
}
RIGHT = {  # there
    ("Budget.times", "a number"), ("Limits seconds", "a number"), ("Budget steps", "a number"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_argument_of_a_public_name_gets_one_clear_line(
    call: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if (call, wrong) in RIGHT:
        CALLS[call](WRONG[wrong])
        return
    with pytest.raises(MenndlError) as caught:
        CALLS[call](WRONG[wrong])
    message = str(caught.value)
    assert "\n" not in message
    assert 20 < len(message) <= 500
    assert "expected" in message


@pytest.mark.parametrize("wrong", ["a path that is not there", "a list of numbers", "a table", "an array", "a dict"])
def test_a_wrong_argument_of_a_picture_gets_one_clear_line(wrong: str, tmp_path: Path) -> None:
    plot = finished(tmp_path / "run", made_up(4)).plot
    for picture in (plot.pareto, plot.network, plot.lineage):
        with pytest.raises(MenndlError, match="expected") as caught:
            picture(WRONG[wrong])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("domain", [integer, real])
def test_bounds_of_a_gene_that_are_no_numbers_get_one_clear_line(domain: Any) -> None:
    for wrong in (None, "4", [1], {}):
        with pytest.raises(ValueError, match=f"{domain.__name__}: expected low ≤ high"):
            domain(1, wrong)


def test_every_public_function_is_among_those_that_are_called_with_mistakes() -> None:
    called = {name.split()[0].split(".")[0] for name in CALLS}
    elsewhere = {"decode", "encode", "integer", "real", "choice", "per_axis", "Plots"}  # the first two import Keras
    made_by_the_program = {"Cost", "Result", "Cell", "Gene", "Layer", "MenndlError", "UserError", "__version__"}
    assert set(menndl_dask.__all__) == called | elsewhere | made_by_the_program
