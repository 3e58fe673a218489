"""Evolve neural networks for labelled scientific images on any cluster that Dask reaches.

Everything public is importable from here. Names are looked up when first used, so that importing the package
loads neither Keras nor a Dask cluster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from menndl_dask.cluster import load_cluster
    from menndl_dask.cost import Cost, cost_of
    from menndl_dask.data import open_problem
    from menndl_dask.decoder import decode
    from menndl_dask.deployment import predict
    from menndl_dask.domain import choice, integer, per_axis, real
    from menndl_dask.encoder import encode
    from menndl_dask.errors import MenndlError, UserError
    from menndl_dask.evaluation import evaluate
    from menndl_dask.evolution import Evolution
    from menndl_dask.gene import Gene
    from menndl_dask.genome import Genome
    from menndl_dask.individual import Individual
    from menndl_dask.network_layer import Layer
    from menndl_dask.problem import Budget, Facts, Limits, Problem
    from menndl_dask.result import Result
    from menndl_dask.search import Search
    from menndl_dask.space import SearchSpace
    from menndl_dask.store import Run

__version__ = "0.1.0"

_HOMES = {
    "load_cluster": "cluster",
    "Cost": "cost",
    "cost_of": "cost",
    "open_problem": "data",
    "decode": "decoder",
    "predict": "deployment",
    "choice": "domain",
    "integer": "domain",
    "per_axis": "domain",
    "real": "domain",
    "encode": "encoder",
    "MenndlError": "errors",
    "UserError": "errors",
    "evaluate": "evaluation",
    "Evolution": "evolution",
    "Gene": "gene",
    "Genome": "genome",
    "Layer": "network_layer",
    "Individual": "individual",
    "Budget": "problem",
    "Facts": "problem",
    "Limits": "problem",
    "Problem": "problem",
    "Result": "result",
    "Search": "search",
    "SearchSpace": "space",
    "Run": "store",
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
