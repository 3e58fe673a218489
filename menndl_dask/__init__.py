"""Evolve neural networks for labelled scientific images on any cluster that Dask reaches.

Everything public is importable from here. Names are looked up when first used, so that importing the package
loads neither Keras nor a Dask cluster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from menndl_dask.cluster.cluster import load_cluster
    from menndl_dask.data.data import open_problem
    from menndl_dask.errors import MenndlError, UserError
    from menndl_dask.evaluation.evaluation import evaluate
    from menndl_dask.evolution.evolution import Evolution
    from menndl_dask.genome.cost import Cost, cost_of
    from menndl_dask.genome.domain import choice, integer, per_axis, real
    from menndl_dask.genome.forms.cell import Cell
    from menndl_dask.genome.gene import Gene
    from menndl_dask.genome.genome import Genome
    from menndl_dask.genome.individual import Individual
    from menndl_dask.genome.keras_model.decoder import decode
    from menndl_dask.genome.keras_model.encoder import encode
    from menndl_dask.genome.layer import Layer
    from menndl_dask.prediction.prediction import predict
    from menndl_dask.problem import Budget, Facts, Limits, Problem
    from menndl_dask.result import Result
    from menndl_dask.run.run import Run
    from menndl_dask.search.plan.plan import plan_search
    from menndl_dask.search.search import Search
    from menndl_dask.space.space import SearchSpace

__version__ = "0.7.0"

# public names by the module that defines them
_NAMES = {
    "cluster.cluster": "load_cluster",
    "data.data": "open_problem",
    "errors": "MenndlError UserError",
    "evaluation.evaluation": "evaluate",
    "evolution.evolution": "Evolution",
    "genome.cost": "Cost cost_of",
    "genome.domain": "choice integer per_axis real",
    "genome.forms.cell": "Cell",
    "genome.gene": "Gene",
    "genome.genome": "Genome",
    "genome.individual": "Individual",
    "genome.keras_model.decoder": "decode",
    "genome.keras_model.encoder": "encode",
    "genome.layer": "Layer",
    "prediction.prediction": "predict",
    "problem": "Budget Facts Limits Problem",
    "result": "Result",
    "run.run": "Run",
    "search.plan.plan": "plan_search",
    "search.search": "Search",
    "space.space": "SearchSpace",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = [*sorted(_MODULES), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
