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
    from menndl_dask.genome.decoder import decode
    from menndl_dask.genome.domain import choice, integer, per_axis, real
    from menndl_dask.genome.encoder import encode
    from menndl_dask.genome.gene import Gene
    from menndl_dask.genome.genome import Genome
    from menndl_dask.genome.individual import Individual
    from menndl_dask.genome.layer import Layer
    from menndl_dask.prediction.prediction import predict
    from menndl_dask.problem import Budget, Facts, Limits, Problem
    from menndl_dask.result import Result
    from menndl_dask.run.run import Run
    from menndl_dask.search.search import Search
    from menndl_dask.space.space import SearchSpace

__version__ = "0.1.0"

_HOMES = {
    "load_cluster": "cluster.cluster",
    "Cost": "genome.cost",
    "cost_of": "genome.cost",
    "open_problem": "data.data",
    "decode": "genome.decoder",
    "predict": "prediction.prediction",
    "choice": "genome.domain",
    "integer": "genome.domain",
    "per_axis": "genome.domain",
    "real": "genome.domain",
    "encode": "genome.encoder",
    "MenndlError": "errors",
    "UserError": "errors",
    "evaluate": "evaluation.evaluation",
    "Evolution": "evolution.evolution",
    "Gene": "genome.gene",
    "Genome": "genome.genome",
    "Layer": "genome.layer",
    "Individual": "genome.individual",
    "Budget": "problem",
    "Facts": "problem",
    "Limits": "problem",
    "Problem": "problem",
    "Result": "result",
    "Search": "search.search",
    "SearchSpace": "space.space",
    "Run": "run.run",
}
__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
