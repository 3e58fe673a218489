"""Monolayers with random defects: positions, intensities and classes of atoms. Runs on a worker.

Lengths are in Å; positions are ``(x, y)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
EXPONENT = 1.63  # of the atomic number, for a detector from 86 to 190 mrad at 60 kV


class Atoms(NamedTuple):
    """The atomic columns of a specimen: positions, intensities relative to one of Z = 1, and classes."""

    positions: Floats
    intensities: Floats
    kinds: npt.NDArray[np.uint8]


class Material(Protocol):
    """A monolayer with random defects.

    ``classes`` are the names of the pixel classes; ``host`` is the atomic number of the column whose peak is the unit
    of intensity.
    """

    name: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]
    host: ClassVar[int]

    def atoms(self, radius: float, rng: np.random.Generator) -> Atoms:
        """Return the atoms of a flake of a radius around the origin, in Å."""
        ...


@dataclass(frozen=True, slots=True)
class Graphene:
    """Graphene with silicon dopants and vacancies.

    Parameters
    ----------
    dopants, vacancies
        Share of the carbon atoms that is replaced or missing.
    """

    name: ClassVar[str] = "graphene"
    classes: ClassVar[tuple[str, ...]] = ("background", "carbon", "silicon dopant", "vacancy")
    host: ClassVar[int] = 6
    dopants: float = 0.02
    vacancies: float = 0.02

    def atoms(self, radius: float, rng: np.random.Generator) -> Atoms:
        """Return the atoms; the neighbours of a dopant move away by 0.28 Å, those of a vacancy 0.10 Å closer."""
        positions, _ = _honeycomb(2.46, radius)
        drawn = rng.random(len(positions))
        silicon = drawn < self.dopants
        vacant = ~silicon & (drawn < self.dopants + self.vacancies)
        positions = _relaxed(_relaxed(positions, silicon, 0.28), vacant, -0.10)
        intensities = np.where(silicon, intensity(14), np.where(vacant, 0.0, intensity(6)))
        return Atoms(positions, intensities, np.where(silicon, 2, np.where(vacant, 3, 1)).astype(np.uint8))


@dataclass(frozen=True, slots=True)
class TungstenDisulfide:
    """Tungsten disulfide, seen along the layer's normal, with sulfur vacancies and molybdenum on tungsten sites.

    Parameters
    ----------
    molybdenum
        Share of the tungsten atoms that is replaced.
    single, double
        Share of the columns of two sulfur atoms in which one or both are missing.
    """

    name: ClassVar[str] = "ws2"
    classes: ClassVar[tuple[str, ...]] = ("background", "tungsten", "sulfur column", "sulfur vacancy", "molybdenum")
    host: ClassVar[int] = 74
    molybdenum: float = 0.05
    single: float = 0.04
    double: float = 0.01

    def atoms(self, radius: float, rng: np.random.Generator) -> Atoms:
        """Return the atoms of a flake."""
        positions, sublattice = _honeycomb(3.18, radius)
        drawn = rng.random(len(positions))
        metal = sublattice == 0
        replaced = metal & (drawn < self.molybdenum)
        empty = ~metal & (drawn < self.double)
        halved = ~metal & ~empty & (drawn < self.double + self.single)
        intensities = np.where(metal, intensity(74), 2 * intensity(16))
        intensities[replaced] = intensity(42)
        intensities[halved] = intensity(16)
        intensities[empty] = 0.0
        kinds = np.where(replaced, 4, np.where(metal, 1, np.where(empty | halved, 3, 2)))
        return Atoms(positions, intensities, kinds.astype(np.uint8))


MATERIALS: dict[str, Material] = {material.name: material for material in (Graphene(), TungstenDisulfide())}


def intensity(number: int) -> float:
    """Return the peak of a single atom's spot by its atomic number, relative to one of Z = 1."""
    return float(number**EXPONENT)


def _honeycomb(constant: float, radius: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the sites of a honeycomb lattice in a disc around the origin, and the sublattice of each."""
    row = constant * math.sqrt(3) / 2
    reach = math.ceil(radius / row) + 2
    i, j = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    first = np.stack([constant * (i + j / 2), row * j], axis=-1)
    sites = np.concatenate([first, first + np.array([0.0, constant / math.sqrt(3)])])
    sublattice = np.repeat([0, 1], len(first))
    inside = np.hypot(*sites.T) <= radius
    return sites[inside], sublattice[inside]


def _relaxed(positions: Floats, centres: npt.NDArray[np.bool_], step: float) -> Floats:
    """Move the nearest neighbours of some atoms away from them (or closer, if the step is negative)."""
    moved = positions.copy()
    for centre in positions[centres]:
        offsets = positions - centre
        distances = np.hypot(offsets[:, 0], offsets[:, 1])
        near = (distances > 0.1) & (distances < 1.8)
        moved[near] += step * offsets[near] / distances[near, np.newaxis]
    return moved
