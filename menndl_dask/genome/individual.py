"""An individual: a genome with its number and parents; an evaluation: an individual with its result. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

from menndl_dask.genome.genome import Genome
from menndl_dask.result import Result
from menndl_dask.validation import demand_kind


@dataclass(frozen=True, slots=True)
class Individual:
    """A genome with its number and its lineage.

    Parameters
    ----------
    id
        Number of the individual in its run, counted from 0 in the order of asking.
    genome
        Its build instructions.
    parents
        Numbers of its parents: none (random or seeded), one (mutation) or two (crossover).
    origin
        Name of the operator that made it, such as ``random``, ``seeded``, ``crossover`` or the mutation's name.
    """

    id: int
    genome: Genome
    parents: tuple[int, ...] = ()
    origin: str = "random"

    def __post_init__(self) -> None:
        demand_kind("individual: id", self.id, Integral, "an integer")
        demand_kind("individual: genome", self.genome, Genome, "a Genome")
        demand_kind("individual: parents", self.parents, tuple, "a tuple of numbers of individuals")
        demand_kind("individual: origin", self.origin, str, "the name of an operator")

    @property
    def name(self) -> str:
        """Its number in eight digits, as used in task keys and folder names."""
        return f"{self.id:08d}"

    def to_dict(self) -> dict[str, Any]:
        """Return the individual as a plain dict that JSON can hold."""
        return {
            "id": self.id,
            "parents": list(self.parents),
            "origin": self.origin,
            "genome": self.genome.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read an individual back; raises `GenomeError` where its genome cannot be read."""
        genome = Genome.from_dict(data["genome"])
        return cls(int(data["id"]), genome, tuple(data.get("parents", ())), str(data.get("origin", "random")))


Evaluation = tuple[Individual, Result]


def ranked(evaluations: Iterable[Evaluation], count: int = 10) -> list[Evaluation]:
    """Return the `count` fittest evaluations, best first; failures and equal networks are left out."""
    best: dict[str, Evaluation] = {}
    succeeded = [(individual, result) for individual, result in evaluations if result.succeeded]
    for individual, result in sorted(succeeded, key=lambda pair: (-(pair[1].fitness or 0.0), pair[0].id)):
        best.setdefault(individual.genome.key, (individual, result))
        if len(best) == count:
            break
    return list(best.values())
