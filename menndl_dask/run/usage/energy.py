"""The energy of a run: joules of each network and in total, from what counters said on the workers. Pure.

The counter of a GPU is read by the one training that has it. The counters of a node's processors count for all that
runs there: what one evaluation has read is divided among those of the run that ran on the node at the same time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from menndl_dask.run.usage.cumulative import Cumulative
from menndl_dask.run.usage.session import Evaluated

_JOULES = 3.6e6  # of a kilowatt hour


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of the evaluations of a run, in joules; None where no counter was read."""

    gpu: float | None = None
    cpu: float | None = None
    networks: int = 0  # for which at least one counter was read
    by_network: dict[int, float] = field(default_factory=dict)  # by the number of the individual

    @property
    def total(self) -> float | None:
        """Joules of GPUs and processors together, as far as they were read."""
        return None if self.gpu is None and self.cpu is None else (self.gpu or 0.0) + (self.cpu or 0.0)

    @property
    def kwh(self) -> float | None:
        """Kilowatt hours."""
        return None if self.total is None else self.total / _JOULES

    def carbon_g(self, intensity: float) -> float | None:
        """Return grams of CO2, given those of a kilowatt hour of the site's electricity."""
        return None if self.kwh is None else self.kwh * intensity


def energy_of(evaluated: Iterable[Evaluated]) -> Energy:
    """Return the energy of evaluations.

    >>> both = [Evaluated(n, 10.0, 0.0, 10.0, worker=f"node:{n}", cpu_joules=500.0) for n in range(2)]
    >>> energy = energy_of(both)
    >>> energy.cpu, energy.by_network, energy.gpu
    (500.0, {0: 250.0, 1: 250.0}, None)
    """
    each = list(evaluated)
    by_network: dict[int, float] = {}
    gpu = [(one.number, one.gpu_joules) for one in each if one.gpu_joules is not None]
    cpu = [(number, joules) for node in _by_node(each).values() for number, joules in _shares(node)]
    for number, joules in (*gpu, *cpu):
        by_network[number] = by_network.get(number, 0.0) + joules
    return Energy(
        sum(joules for _, joules in gpu) if gpu else None,
        sum(joules for _, joules in cpu) if cpu else None,
        len(by_network),
        by_network,
    )


def _by_node(evaluated: Iterable[Evaluated]) -> dict[str, list[Evaluated]]:
    nodes: dict[str, list[Evaluated]] = defaultdict(list)
    for one in evaluated:
        nodes[one.node].append(one)
    return nodes


def _shares(evaluated: list[Evaluated]) -> list[tuple[int, float]]:
    """Return each evaluation's part of the energy of the processors of their node, with the number of its network."""
    spans = [span for one in evaluated if (span := one.span) is not None]
    changes = sorted([(b, 1) for b, _ in spans] + [(e, -1) for _, e in spans])
    steps, count, rate = [], 0, 0.0  # of the share that each of those has that run at a time
    for time, change in changes:
        count += change
        after = 1.0 / count if count else 0.0
        steps.append((time, after - rate))
        rate = after
    share = Cumulative.of_steps(steps)
    found = []
    for one in evaluated:
        if one.cpu_joules is not None and one.span is not None:
            begin, end = one.span
            part = float(share(end) - share(begin)) / (end - begin) if end > begin else 1.0
            found.append((one.number, one.cpu_joules * part))
    return found
