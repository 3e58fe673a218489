"""How fast a search has improved: the best fitness so far against evaluations, hours and energy. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from menndl_dask.run.usage.usage import Usage

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Improvement:
    """The result of a network that was fitter than all before it, and what the search had taken by then.

    Parameters
    ----------
    number, fitness
        Of the network.
    evaluations
        Results until then, this one included.
    generations
        Evaluations divided by the mean number of workers of the run.
    hours, worker_hours, node_hours
        Time of the run, of all places of workers and of all nodes until then.
    joules
        Energy of the evaluations until then; None if no counter was read.
    """

    number: int
    fitness: float
    evaluations: int
    generations: float
    hours: float
    worker_hours: float
    node_hours: float
    joules: float | None


def improvements(usage: Usage) -> list[Improvement]:
    """Return every improvement of a run in order, and where the run stands at its last result."""
    found: list[Improvement] = []
    joules, energy = 0.0, usage.energy
    for count, one in enumerate(usage.evaluated, 1):
        joules += energy.by_network.get(one.number, 0.0)
        is_better = one.fitness is not None and (not found or one.fitness > found[-1].fitness)
        is_last = count == len(usage.evaluated) and bool(found)
        if not (is_better or is_last):
            continue
        number, fitness = (one.number, one.fitness) if is_better else (found[-1].number, found[-1].fitness)
        assert fitness is not None
        found.append(
            Improvement(
                number,
                fitness,
                count,
                count / usage.workers if usage.workers else 0.0,
                float(usage.clock.at(one.completed)) / _HOUR_S,
                float(usage.slots(one.completed)) / _HOUR_S,
                float(usage.nodes(one.completed)) / _HOUR_S,
                None if energy.total is None else joules,
            )
        )
    return found
