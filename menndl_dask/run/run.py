"""A run directory, read while the search runs, when it has ended and after a crash. Runs on the driver.

The journal is the truth. Each question is answered from it, so that memory does not grow with the length of a run.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import menndl_dask  # what stands above in the layers is looked up where a user asks for it
from menndl_dask import files
from menndl_dask.errors import RunError, reading
from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.genome.keras_model.network_file import load_network
from menndl_dask.objective import FITNESS, Objectives, front_of
from menndl_dask.problem import Problem
from menndl_dask.result import Failures, Result
from menndl_dask.run.history import History
from menndl_dask.run.journal import Event
from menndl_dask.run.layout import folder_of, folders_of, island_of, whole_run
from menndl_dask.run.recorder import Compared, Recorder
from menndl_dask.run.settings import FILE as _SETTINGS
from menndl_dask.run.settings import Settings, read_settings
from menndl_dask.run.signature import allow_signed
from menndl_dask.run.usage.reading import read_usage
from menndl_dask.run.usage.time_series import TimeSeries, time_series_of
from menndl_dask.run.usage.usage import Usage, summary
from menndl_dask.validation import shown

if TYPE_CHECKING:
    import xarray as xr

    from menndl_dask.notebook.plots import Plots

_OF_EVENTS = ("event", "time", "crc", "format", "version")  # of a start, which are no settings
_SNAPSHOT = "run.zarr"


@dataclass(frozen=True, slots=True)
class Best:
    """The fittest individual of a run and its result; unpacks into the two.

    Parameters
    ----------
    individual, result
        The individual and its result.
    path
        Its folder, with ``genome.json`` and ``network.keras``.
    """

    individual: Individual
    result: Result
    path: Path

    def __iter__(self) -> Iterator[Any]:
        yield from (self.individual, self.result)

    def model(self, imports: Iterable[str] = ()) -> Any:
        """Return the trained Keras model, not compiled.

        Parameters
        ----------
        imports
            Names of the user's own code, ``my_layers`` or ``my_layers:Block``, that may be imported where the network
            names it. Not needed where your own search has found it.

        Raises
        ------
        RunError
            If its weights do not exist.
        UserError
            If the file names code of another one than Keras that this process has not imported.
        """
        weights = self.path / "network.keras"
        if not weights.is_file():
            raise RunError(f"{weights}: expected the weights of network {self.individual.id}, got no such file")
        return _loaded(weights, weights.parents[2], imports)


def _loaded(weights: Path, run: Path, imports: Iterable[str]) -> Any:
    """Return the Keras model of a file of a run."""
    with reading(weights, RunError):
        os.close(files.open_regular(weights, root=run))  # not a link to another file
    allow_signed(Run(whole_run(run)).settings)
    return load_network(weights, imports)


class Run:
    """A run directory, for reading. `Search.run` returns one. A run of several islands is read as one.

    Parameters
    ----------
    path
        The directory.

    Raises
    ------
    RunError
        If it is not a run directory, or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise RunError(f"run: expected the path of a run directory, got {shown(path)}")
        self.path = Path(path)
        self._frozen = read_settings(self.path / _SETTINGS)
        self._history = History(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @cached_property
    def problem(self) -> Problem | None:
        """The problem; None if the search had an evaluation function of its own and no data."""
        problem = self._frozen["problem"]
        with reading(self.path / _SETTINGS, RunError):
            return None if problem is None else Problem.from_dict(problem)

    @property
    def settings(self) -> Settings:
        """The frozen settings, and ``evaluations``, ``hours`` and ``command`` of the latest start."""
        settings = {key: value for key, value in self._frozen.items() if key not in ("problem", "space")}
        for island, event in self._history.events("started"):
            # how one island is started again is not how all of them are
            passed_over = {*_OF_EVENTS, *(() if island is None else ("command", "arguments", "signed"))}
            settings.update({key: value for key, value in event.items() if key not in passed_over})
        return settings

    @property
    def space_rules(self) -> Mapping[str, Any]:
        """The limits of the networks of the search space; empty for a space without."""
        return dict(self._frozen["space"].get("rules") or {})

    @property
    def islands(self) -> dict[int, Run]:
        """The run of each island by its number; empty for a single search."""
        folders = folders_of(self.path).items()
        return {number: Run(folder) for number, folder in folders if (folder / _SETTINGS).exists()}

    @property
    def migrations(self) -> int:
        """Number of individuals that came from another island."""
        return sum(1 for _ in self._events("migrated"))

    @property
    def evaluations(self) -> History:
        """Individuals with their results, in the order in which the results arrived; read again on each pass.

        ``len(run.evaluations)`` is their number and ``run.evaluations[-1]`` the latest.
        """
        return self._history

    @property
    def notes(self) -> list[Mapping[str, Any]]:
        """Notes on the search: mappings with ``time`` (seconds since the epoch) and ``message``."""
        with reading(self.path, RunError):
            return [
                {"time": e["time"], "message": f"{'' if island is None else f'island {island}: '}{e['message']}"}
                for island, e in self._history.events("note")
            ]

    @property
    def starts(self) -> list[Mapping[str, Any]]:
        """Starts of drivers: mappings with ``time`` and, since version 0.7.0, ``host`` and ``dashboard``."""
        with reading(self.path, RunError):
            return list(self._events("started"))

    @property
    def told_at(self) -> dict[int, float]:
        """Time at which each individual's result arrived, by its id, in seconds since the epoch."""
        with reading(self.path, RunError):
            return {event["id"]: event["time"] for event in self._events("told")}

    @property
    def searched(self) -> list[tuple[float, float]]:
        """When each driver began and when its last result arrived, in seconds since the epoch; without islands."""
        found: list[tuple[float, float]] = []
        with reading(self.path, RunError):
            for _, event in self._history.events("started", "told"):
                if event["event"] == "started":
                    found.append((event["time"], event["time"]))
                elif found:
                    found[-1] = (found[-1][0], event["time"])
        return found

    @property
    def forecasts(self) -> list[Mapping[str, Any]]:
        """The forecasts that were made of the search, in order, as plain dicts; see `menndl_dask.run.forecast`."""
        with reading(self.path, RunError):
            return [event["forecast"] for event in self._events("forecast")]

    @property
    def comparisons(self) -> list[Compared]:
        """Networks that were trained for comparison, in order; of equal trainings the latest."""
        latest: dict[tuple[int, float], Compared] = {}
        with reading(self.path, RunError):
            for event in self._events("compared"):
                individual = Individual.from_dict(event["individual"])
                key = (individual.id, event["factor"])
                latest.pop(key, None)
                latest[key] = Compared(event["name"], individual, event["factor"], Result.from_dict(event["result"]))
        return list(latest.values())

    @property
    def contenders(self) -> list[Compared]:
        """Networks that were trained with several seeds to compare them; of equal trainings the latest."""
        return self._with_seeds("contender")

    @property
    def finals(self) -> list[Compared]:
        """Networks that were trained for use, on the training and the validation split; of equal ones the latest."""
        return self._with_seeds("final")

    def _with_seeds(self, kind: str) -> list[Compared]:
        latest: dict[tuple[str, float, int], Compared] = {}
        with reading(self.path, RunError):
            for event in self._events(kind):
                individual, seed = Individual.from_dict(event["individual"]), event["seed"]
                given = event["name"], individual, event["factor"], Result.from_dict(event["result"])
                latest[individual.genome.key, event["factor"], seed] = Compared(*given, seed, kind == "final")
        return list(latest.values())

    @property
    def measured(self) -> dict[str, Mapping[str, float]]:
        """What the predictions of networks cost, measured alone, by the key of the genome; the latest of each."""
        with reading(self.path, RunError):
            return {
                Individual.from_dict(event["individual"]).genome.key: event["costs"]
                for event in self._events("measured")
            }

    @property
    def alike(self) -> list[Compared]:
        """The latest finalists and the standard network trained with the same budget, the fittest first.

        Without a longer training these are the best network as the search has trained it (factor 0), and the standard
        network with the budget of the search.
        """
        comparisons = self.comparisons
        factor = next((c.factor for c in reversed(comparisons) if not c.is_standard), None)
        alike = [c for c in comparisons if c.factor == factor or (factor == 0 and c.is_standard and c.factor == 1)]
        return sorted(alike, key=lambda c: math.inf if c.result.fitness is None else -c.result.fitness)

    @property
    def standard(self) -> Compared | None:
        """The standard network at the search's own budget; None if it was not trained."""
        return next((c for c in self.comparisons if c.is_standard and c.factor == 1), None)

    def best(self) -> Best:
        """Return the fittest individual, of equals the one that arrived first, and its result.

        One that breaks a constraint of the search counts only if all do.

        Raises
        ------
        RunError
            If no evaluation has succeeded; the message says how they failed.
        """
        limits = self._constraints
        known = (pair for pair in self.evaluations if pair[1].fitness is not None)
        best = min(known, key=lambda pair: limits.order(pair[1]), default=None)
        if best is None:
            how = self.failures().describe()
            raise RunError(f"{self.path}: no network has succeeded yet{f': {how}' if how else ''}")
        folder = folder_of(self.path, island_of(best[0])) if folders_of(self.path) else self.path
        return Best(*best, folder.resolve() / "networks" / best[0].name)

    def model(self, imports: Iterable[str] = ()) -> Any:
        """Return the trained Keras model that the comparison preferred by the validation split, not compiled.

        Without a comparison it is that of `best`. `imports` are as of `Best.model`.

        Raises
        ------
        RunError
            If there is none.
        """
        weights = self.path / "best.keras"
        if not weights.exists():
            return self.best().model(imports)
        return _loaded(weights, self.path, imports)

    @property
    def headline(self) -> str:
        """How the network compares with the standard one on the test split, in one sentence."""
        return menndl_dask.headline(self)

    def failures(self) -> Failures:
        """Return the failures, counted by their kind and message."""
        failures = Failures()
        for _, result in self.evaluations:
            if result.failure is not None:
                failures.add(result.failure, result.message)
        return failures

    def front(self, objectives: Sequence[str] | None = None) -> list[Evaluation]:
        """Return the evaluations that no other beats in all objectives, the fittest first.

        By default the objectives are those of the search, or fitness and parameters where it has only the fitness. All
        but the fitness are to be small. Evaluations that break a constraint of the search count only if all do.

        Raises
        ------
        UserError
            If the objectives are not different names.
        """
        usual = self._objectives if len(self._objectives) > 1 else (FITNESS, "parameters")
        compared = Objectives.of(usual if objectives is None else objectives)
        known = [(pair, values) for pair in self.evaluations if (values := compared.values(pair[1])) is not None]
        known = self._constraints.kept(known, lambda each: each[0][1])
        return [known[i][0] for i in front_of([values for _, values in known])]

    @property
    def plot(self) -> Plots:
        """Pictures of the run, such as ``run.plot.progress()``; a notebook shows them."""
        return menndl_dask.Plots(self)

    def _repr_html_(self) -> str:
        return self.plot.overview()

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame with a row for each evaluation, by its number, in the order of arrival.

        Columns are fitness, failure, message, told_at, began_at, origin, key, worker, seed, the costs and metrics by
        their names, and the seconds of each phase such as ``seconds_train``.
        """
        data = self.to_xarray().swap_dims(evaluation="id")
        plain = [name for name, values in data.data_vars.items() if values.dims == ("id",) and name != "genome"]
        found = data[plain].to_dataframe()
        found = found.join(data["costs"].to_pandas())
        for name, prefix in (("metrics", "metric_"), ("times", "seconds_")):
            found = found.join(data[name].to_pandas().add_prefix(prefix))
        return found

    def usage(self) -> Usage:
        """Return the use of the workers: FLOP/s, time by phase, energy, and what failures cost."""
        return read_usage(self.path)

    def to_xarray(self) -> xr.Dataset:
        """Return every evaluation: fitness, costs, times, curves, lineage; see `menndl_dask.run.snapshot`.

        Attributes whose names begin with ``usage_`` have the figures of the whole run, and variables over ``interval``
        the use of the workers over time.
        """
        from menndl_dask.run.snapshot import dataset

        with reading(self.path, RunError):
            return dataset(self.evaluations, self.told_at, self._objectives, *self._whole())

    def write_snapshot(self) -> Path:
        """Write `to_xarray` as ``run.zarr``, in place of an earlier one, and return its path."""
        from menndl_dask.run.snapshot import write_dataset

        path = self.path / _SNAPSHOT
        write_dataset(path, self.evaluations, self.told_at, self._objectives, *self._whole())
        return path

    def _whole(self) -> tuple[dict[str, Any], TimeSeries]:
        """Return what a data set says of the whole run: attributes, and the use of the workers over time."""
        usage = self.usage()
        figures = {f"usage_{name}": value for name, value in summary(usage).items()}
        return {"run": self.path.name, **figures}, time_series_of(usage)

    def compare(self, compared: Compared) -> None:
        """Record a network that was trained for comparison, in place of an earlier equal training."""
        with Recorder(self.path) as recorder:
            recorder.compared(compared)

    def measure(self, individual: Individual, costs: Mapping[str, float]) -> None:
        """Record what the predictions of a network cost, measured alone, in place of an earlier measurement."""
        with Recorder(self.path) as recorder:
            recorder.measured(individual, costs)

    def note(self, message: str) -> None:
        """Record a note."""
        with Recorder(self.path) as recorder:
            recorder.note(message)

    @cached_property
    def _constraints(self) -> Objectives:
        return Objectives.of((FITNESS,), self.problem.constraints if self.problem is not None else ())

    @property
    def _objectives(self) -> Sequence[str]:
        return self.problem.objectives if self.problem is not None else ("fitness",)

    def _events(self, kind: str) -> Iterator[Event]:
        return (event for _, event in self._history.events(kind))
