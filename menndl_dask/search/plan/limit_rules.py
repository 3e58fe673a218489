"""Rules of the plan for the limits of a network, the number of networks and the expected time. Pure."""

from __future__ import annotations

import math

from menndl_dask.genome.cost import Cost
from menndl_dask.run.forecast.forecast import CostForecast
from menndl_dask.run.planned_value import PlannedValue, minutes_text, seconds_text
from menndl_dask.search.plan.training_rules import round_figure
from menndl_dask.text import quantity

FRAMEWORK_BYTES = 0.9e9  # of a training beside the network's own, if it was not measured
# the measured peak of the worst of many random networks is this many times the estimate of its step
ESTIMATE_FACTOR = 1.6
_USUAL_LIMIT = 4e9
_ROOM = 0.9  # of a limit that is used
# times the FLOPs of the standard network, at most: more if it is trained in a short time. Of random networks of volumes
# with at most 3 (1.5) times its FLOPs the mean has 1.3 (0.75) times: a search has more networks in the same time
_LARGER, _LARGEST = 1.5, 6.0
_LONG_TRAINING_S = 300.0
_MOST_PARAMETERS = 20e6
_SEARCH_S = 3600.0
_FEWEST, _MOST = 20, 200
_SLOWEST = 6.0  # times the standard network's time, that a network may take
_LEAST_LIMIT_S = 600.0
_GB = 1e9


def needed_bytes(step_bytes: float, framework: float = FRAMEWORK_BYTES) -> float:
    """Return the memory of a training for which this many bytes of a step were estimated."""
    return framework + ESTIMATE_FACTOR * step_bytes


def memory_limit(share: float | None, needed: float) -> PlannedValue:
    """Return the memory in GB that a training may use, of the share of a worker, if the standard network needs so much.

    >>> memory_limit(7e9, 1.5e9).value, memory_limit(3.26e9, 1.5e9).value, memory_limit(9e9, 4e9).value
    (4.0, 3.2, 8.0)
    """
    wanted = max(_USUAL_LIMIT, 2 * needed)
    if share is None:
        return PlannedValue("memory_limit", _down(wanted), f"the standard network takes {needed / _GB:.1f} GB")
    of = f"a worker may use {share / _GB:.1f} GB; the standard network takes {needed / _GB:.1f} GB"
    return PlannedValue("memory_limit", _down(min(share, wanted)), of)


def max_memory(limit_gb: float, framework: float, gpu_bytes: float | None) -> PlannedValue:
    """Return the estimated memory in GB of a training step that a network of the search may have."""
    step = (_ROOM * limit_gb * _GB - framework) / ESTIMATE_FACTOR
    reason = f"fits into {limit_gb:g} GB beside the {framework / _GB:.1f} GB of Keras and the data"
    if gpu_bytes is not None and _ROOM * gpu_bytes / ESTIMATE_FACTOR < step:
        step, reason = _ROOM * gpu_bytes / ESTIMATE_FACTOR, f"fits into a GPU of {gpu_bytes / _GB:.0f} GB"
    return PlannedValue("max_memory", _down(max(step, 0.01 * _GB), 2), reason)


def max_parameters(standard: Cost) -> PlannedValue:
    """Return the most weights of a network."""
    most = min(_MOST_PARAMETERS, max(1e6, float(round_figure(10 * standard.parameters))))
    return PlannedValue("max_parameters", most, f"the standard network has {quantity(standard.parameters)}")


def max_flops(standard: Cost, training_s: float | None) -> PlannedValue:
    """Return the most FLOPs of a network, for one sample forward, by the time that the standard network is trained."""
    times = _LARGER if training_s is None else min(_LARGEST, max(_LARGER, _LONG_TRAINING_S / max(training_s, 1e-3)))
    reason = f"{times:.2g} times those of the standard network, and so about the time of its training"
    return PlannedValue("max_flops", float(f"{times * standard.flops_forward:.2g}"), reason)


def time_limit(network_s: float | None) -> PlannedValue:
    """Return the seconds that an evaluation may take."""
    if network_s is None:
        return PlannedValue("time_limit", 3600.0, "not timed")
    limit = max(_LEAST_LIMIT_S, float(round_figure(_SLOWEST * network_s)))
    return PlannedValue("time_limit", limit, f"the standard network takes {seconds_text(network_s)} in all")


def evaluations(mean_s: float | None, workers: int) -> PlannedValue:
    """Return the number of networks that are evaluated in about an hour, by the mean seconds of one.

    >>> evaluations(90, 2).value, evaluations(4.5, 2).value, evaluations(1500, 1).value
    (80, 200, 20)
    """
    if mean_s is None:
        return PlannedValue("evaluations", 100, "not timed; see --hours")
    fitting = _SEARCH_S * workers / mean_s
    number = max(_FEWEST, min(_MOST, int(fitting) // 10 * 10))
    about = "about an hour" if _FEWEST <= fitting <= _MOST else "enough" if fitting > _MOST else "the fewest"
    at = f"at {seconds_text(mean_s)} a network and {workers} at a time"
    why = {"enough": f"more add little; {at}", "the fewest": f"fewer find little; {at}"}
    return PlannedValue("evaluations", number, why.get(about, f"{about} {at}"))


def minutes(forecast: CostForecast | None, hours: float | None) -> PlannedValue:
    """Return the minutes that the search and the training of the finalists will take."""
    if forecast is None:
        return PlannedValue("minutes", None if hours is None else 60 * hours, "not timed")
    search, after = forecast.seconds, forecast.comparison_s
    longer = 0.0 if after is None else after.value
    reason = f"{minutes_text(search.value / 60)} for the search"
    if search.low < search.high:
        reason += f" ({minutes_text(search.low / 60)} to {minutes_text(search.high / 60)})"
    reason += f", {minutes_text(longer / 60)} for the comparison at the end"
    return PlannedValue("minutes", round((search.value + longer) / 60, 1), reason)


def _down(value_bytes: float, digits: int = 1) -> float:
    """Return gigabytes, rounded down."""
    scale = 10.0**digits
    return math.floor(value_bytes / _GB * scale) / scale
