"""A run as an xarray Dataset and as Zarr: every evaluation with what it cost and how it learnt. Runs on the driver.

Dimensions are ``evaluation`` (in the order in which results arrived), ``objective``, ``cost``, ``metric``,
``phase`` (of time), ``epoch``, ``measure`` (of a learning curve), ``parent`` and ``interval`` (a part of the run's
time, by its end in seconds). What an evaluation lacks is NaN, NaT, -1 (a parent) or empty text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from menndl_dask import files
from menndl_dask.genome.individual import Evaluation
from menndl_dask.objective import measured
from menndl_dask.run.usage.time_series import TimeSeries

_BLOCK = 4096  # evaluations in memory at a time
# units of costs, and of variables with their names for people
_UNITS = {
    "flops_forward": "FLOP", "flops_training": "FLOP", "latency_ms": "ms", "memory_bytes": "B", "framework_bytes": "B",
    "train_seconds": "s", "gpu_joules": "J", "cpu_joules": "J",
}  # fmt: skip
_NAMED = {
    "fitness": ("fitness on the validation split", "1"), "failure": ("kind of failure, empty for a success", ""),
    "began_at": ("time at which the worker began, UTC", ""),
    "told_at": ("time at which the result arrived, UTC", ""), "origin": ("operator that made the network", ""),
    "parents": ("numbers of the parents, -1 for none", ""), "objectives": ("values of the objectives", ""),
    "costs": ("costs, in the units of the coordinate unit", ""), "metrics": ("further metrics, validation split", ""),
    "times": ("time of each phase", "s"), "curves": ("learning curves", ""), "id": ("number of the network", ""),
}  # fmt: skip

# of the variables over time
_SERIES = {
    "flops_per_s": ("FLOPs of training in a second", "FLOP/s"), "networks_per_hour": ("results in an hour", "1/h"),
    "busy": ("evaluations that ran", "1"), "present": ("evaluations that the workers could do at a time", "1"),
    "best": ("best fitness so far", "1"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Layout:
    """Names along each dimension but ``evaluation``, and the longest learning curve."""

    objectives: tuple[str, ...]
    costs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    epochs: int = 0

    @classmethod
    def of(cls, evaluations: Iterable[Evaluation], objectives: Sequence[str]) -> Self:
        """Collect the names from all evaluations, in order of first appearance."""
        names: tuple[dict[str, None], ...] = ({}, {}, {}, {})  # dicts keep the order
        epochs = 0
        for _, result in evaluations:
            found = (result.costs, result.metrics, result.times, chain(*result.curve))
            for known, new in zip(names, found, strict=True):
                known.update(dict.fromkeys(new))
            epochs = max(epochs, len(result.curve))
        costs, metrics, phases, measures = map(tuple, names)
        return cls(tuple(objectives), costs, metrics, phases, measures, epochs)

    def coordinates(self) -> dict[str, Any]:
        """Return the names as coordinates."""
        named = {
            "objective": self.objectives, "cost": self.costs, "metric": self.metrics, "phase": self.phases,
            "measure": self.measures,
        }  # fmt: skip
        names: dict[str, Any] = {name: (name, _texts(values)) for name, values in named.items()}
        names["unit"] = ("cost", _texts([_UNITS.get(name, "") for name in self.costs]), {"long_name": "unit of a cost"})
        return {**names, "epoch": np.arange(1, self.epochs + 1)}


def dataset(
    evaluations: Iterable[Evaluation],
    told_at: Mapping[int, float],
    objectives: Sequence[str] = ("fitness",),
    attributes: Mapping[str, Any] | None = None,
    series: TimeSeries | None = None,
) -> xr.Dataset:
    """Return all evaluations, in the order of arrival, as one Dataset in memory; they are iterated twice.

    `told_at` has the time at which each individual's result arrived, by its id, in seconds since the epoch.
    """
    layout = _Layout.of(evaluations, objectives)
    return _block(list(iter(evaluations)), told_at, layout).assign(_over_time(series)).assign_attrs(attributes or {})


def write_dataset(
    path: Path,
    evaluations: Iterable[Evaluation],
    told_at: Mapping[int, float],
    objectives: Sequence[str] = ("fitness",),
    attributes: Mapping[str, Any] | None = None,
    series: TimeSeries | None = None,
) -> None:
    """Write what `dataset` returns as a Zarr store, block by block; an earlier store is replaced at the end."""
    layout = _Layout.of(evaluations, objectives)
    files.sweep(path.parent, path.name)
    with files.replacing(path) as partial:
        for number, entries in enumerate(_blocks(evaluations)):
            block = _block(entries, told_at, layout).assign(_over_time(series)).assign_attrs(attributes or {})
            if number == 0:
                block.to_zarr(partial, mode="w", zarr_format=3, consolidated=False, encoding=_encoding(block))
            else:
                fixed = [name for name, array in block.variables.items() if "evaluation" not in array.dims]
                block.drop_vars(fixed).to_zarr(partial, append_dim="evaluation", zarr_format=3, consolidated=False)
        files.flush(partial)
        files.remove_folder(path)  # POSIX cannot exchange two folders: for an instant there is none


def _over_time(series: TimeSeries | None) -> dict[str, Any]:
    """Return what a run did in each interval, as variables."""
    if series is None:
        return {}
    variables = {
        f"usage_{name}": ("interval", getattr(series, name), {"long_name": long_name, "units": unit})
        for name, (long_name, unit) in _SERIES.items()
    }
    ends = {"long_name": "end of an interval, in the time of the run", "units": "s"}
    return {"interval": ("interval", series.ends, ends), **variables}


def _blocks(evaluations: Iterable[Evaluation]) -> Iterator[list[Evaluation]]:
    """Yield the evaluations in blocks, one empty block if there are none."""
    left = iter(evaluations)
    yield list(islice(left, _BLOCK))
    while entries := list(islice(left, _BLOCK)):
        yield entries


def _encoding(block: xr.Dataset) -> dict[Any, Any]:
    # appending must not meet half a chunk, nor a unit of time that suited the first block alone
    encoding: dict[Any, dict[str, Any]] = {
        name: {"chunks": tuple(_BLOCK if d == "evaluation" else max(1, block.sizes[d]) for d in array.dims)}
        for name, array in block.variables.items()
        if "evaluation" in array.dims
    }
    for name in ("told_at", "began_at"):
        encoding[name] |= {"units": "microseconds since 1970-01-01", "dtype": "int64"}
    return encoding


def _block(entries: Sequence[Evaluation], told_at: Mapping[int, float], layout: _Layout) -> xr.Dataset:
    results = [result for _, result in entries]
    values = [[_or_nan(measured(r, name)) if r.succeeded else np.nan for name in layout.objectives] for r in results]
    parents = np.full((len(entries), 2), -1, dtype="int64")
    for row, (individual, _) in zip(parents, entries, strict=True):
        row[: len(individual.parents)] = individual.parents[:2]
    times = np.array([told_at.get(i.id, np.nan) for i, _ in entries], dtype="float64")
    begins = np.array([_or_nan(r.began) for r in results], dtype="float64")
    curves = np.full((len(entries), layout.epochs, len(layout.measures)), np.nan)
    for place, result in zip(curves, results, strict=True):
        place[: len(result.curve)] = _rows(result.curve, layout.measures)
    variables = {
        "fitness": ("evaluation", np.array([_or_nan(r.fitness) for r in results], dtype="float64")),
        "failure": ("evaluation", _texts([r.failure or "" for r in results])),
        "message": ("evaluation", _texts([r.message for r in results])),
        "told_at": ("evaluation", _instants(times)),
        "began_at": ("evaluation", _instants(begins)),
        "origin": ("evaluation", _texts([i.origin for i, _ in entries])),
        "parents": (("evaluation", "parent"), parents),
        "genome": ("evaluation", _texts([json.dumps(i.genome.to_dict()) for i, _ in entries])),
        "key": ("evaluation", _texts([i.genome.key for i, _ in entries])),
        "worker": ("evaluation", _texts([r.worker for r in results])),
        "seed": ("evaluation", np.array([r.seed for r in results], dtype="int64")),
        "objectives": (("evaluation", "objective"), _matrix(values, len(layout.objectives))),
        "costs": (("evaluation", "cost"), _rows([r.costs for r in results], layout.costs)),
        "metrics": (("evaluation", "metric"), _rows([r.metrics for r in results], layout.metrics)),
        "times": (("evaluation", "phase"), _rows([r.times for r in results], layout.phases)),
        "curves": (("evaluation", "epoch", "measure"), curves),
    }
    coordinates = {"id": ("evaluation", np.array([i.id for i, _ in entries], dtype="int64")), **layout.coordinates()}
    found = xr.Dataset(variables, coordinates)
    for name, (long_name, unit) in _NAMED.items():
        found[name].attrs |= {"long_name": long_name, **({"units": unit} if unit else {})}
    return found


def _texts(values: Sequence[str]) -> Any:
    # of any length, in Zarr too
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


def _instants(seconds: Any) -> Any:
    known = np.isfinite(seconds)
    instants = np.full(len(seconds), np.datetime64("NaT", "ns"))
    instants[known] = (seconds[known] * 1e6).round().astype("int64").astype("datetime64[us]").astype("datetime64[ns]")
    return instants


def _matrix(rows: Sequence[Sequence[float]], width: int) -> Any:
    return np.array(rows, dtype="float64").reshape(len(rows), width)


def _rows(values: Sequence[Mapping[str, float]], names: Sequence[str]) -> Any:
    return _matrix([[_or_nan(each.get(name)) for name in names] for each in values], len(names))


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else float(value)
