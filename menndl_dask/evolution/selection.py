"""Survival selection: which members of a population live on. Pure.

`elitist`, `ageing` and `cautious_ageing` take members and a capacity, and are interchangeable.
"""

from __future__ import annotations

from collections.abc import Sequence

from menndl_dask.evolution.population import Member, standing


def elitist(members: Sequence[Member], capacity: int) -> list[Member]:
    """Let the best live on; members keep their order.

    With several objectives these are the best by Pareto rank and crowding distance, as in NSGA-II.
    """
    places = standing(members)
    return [m for m, place in zip(members, places, strict=True) if place < capacity]


def ageing(members: Sequence[Member], capacity: int) -> list[Member]:
    """Let the youngest live on: regularised evolution (Real et al. 2019, doi:10.1609/aaai.v33i01.33014780)."""
    return list(members[-capacity:])


def cautious_ageing(members: Sequence[Member], capacity: int) -> list[Member]:
    """Let the youngest live on, and the best quarter however old it is."""
    places = standing(members)
    elite = {i for i, place in enumerate(places) if place < max(1, capacity // 4)}
    others = [i for i in range(len(members)) if i not in elite]
    young = others[max(0, len(others) - (capacity - len(elite))) :]
    return [members[i] for i in sorted({*elite, *young})]
