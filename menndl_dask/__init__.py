"""Evolve neural networks for labelled scientific images on any cluster that Dask reaches.

Everything public is importable from here. Names are looked up when first used, so that importing the package
loads neither Keras nor a Dask cluster.
"""

from importlib import import_module

from menndl_dask.environment import choose_backend as _choose_backend

TYPE_CHECKING = False  # that of `typing` takes milliseconds to import, in which Ctrl-C would show a traceback
if TYPE_CHECKING:  # "as" says to type checkers that they are public
    from typing import Any

    from menndl_dask.cluster.cluster import load_cluster as load_cluster
    from menndl_dask.data.data import open_problem as open_problem
    from menndl_dask.errors import MenndlError as MenndlError
    from menndl_dask.errors import UserError as UserError
    from menndl_dask.evaluation.evaluation import evaluate as evaluate
    from menndl_dask.evolution.evolution import Evolution as Evolution
    from menndl_dask.genome.cost import Cost as Cost
    from menndl_dask.genome.cost import cost_of as cost_of
    from menndl_dask.genome.domain import choice as choice
    from menndl_dask.genome.domain import integer as integer
    from menndl_dask.genome.domain import per_axis as per_axis
    from menndl_dask.genome.domain import real as real
    from menndl_dask.genome.forms.cell import Cell as Cell
    from menndl_dask.genome.gene import Gene as Gene
    from menndl_dask.genome.genome import Genome as Genome
    from menndl_dask.genome.individual import Individual as Individual
    from menndl_dask.genome.keras_model.decoder import decode as decode
    from menndl_dask.genome.keras_model.encoder import encode as encode
    from menndl_dask.genome.layer import Layer as Layer
    from menndl_dask.notebook.fit import fit as fit
    from menndl_dask.notebook.plots import Plots as Plots
    from menndl_dask.prediction.prediction import predict as predict
    from menndl_dask.problem import Budget as Budget
    from menndl_dask.problem import Facts as Facts
    from menndl_dask.problem import Limits as Limits
    from menndl_dask.problem import Problem as Problem
    from menndl_dask.report.headline import headline as headline
    from menndl_dask.result import Result as Result
    from menndl_dask.run.run import Run as Run
    from menndl_dask.search.plan.plan import plan_search as plan_search
    from menndl_dask.search.search import Search as Search
    from menndl_dask.space.space import SearchSpace as SearchSpace

__version__ = "0.9.0"

_choose_backend()

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
    "notebook.fit": "fit",
    "notebook.plots": "Plots",
    "prediction.prediction": "predict",
    "problem": "Budget Facts Limits Problem",
    "report.headline": "headline",
    "result": "Result",
    "run.run": "Run",
    "search.plan.plan": "plan_search",
    "search.search": "Search",
    "space.space": "SearchSpace",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = [*sorted(_MODULES), "__version__"]


def __getattr__(name: str) -> "Any":
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
