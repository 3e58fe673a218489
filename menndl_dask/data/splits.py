"""Split samples into training, validation and test. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.data.parts.regions import SHARES, cut
from menndl_dask.errors import DataError, nearest
from menndl_dask.problem import SPLITS

Positions = NDArray[np.int64]


def split_samples(
    strata: NDArray[Any],
    groups: NDArray[Any] | None = None,
    *,
    given: NDArray[Any] | None = None,
    consecutive: bool = False,
    seed: int = 0,
) -> dict[str, Positions]:
    """Split samples into train, validation and test, stratified and without dividing a group.

    Samples with a negative stratum are left out. `given` are the names of the user's splits; a split without samples
    is drawn from the user's training samples, in the proportion of `SHARES`. Where samples are `consecutive` (sections,
    frames) and have no groups, a split is a block of neighbours. Equal samples and seed give equal splits on every
    machine. Returns the sorted positions for each of `SPLITS`; none is empty.

    Raises
    ------
    DataError
        If there are too few samples or groups, an unknown split name, or a split without a sample.

    Examples
    --------
    >>> {name: len(where) for name, where in split_samples(np.zeros(20)).items()}
    {'train': 14, 'validation': 3, 'test': 3}
    """
    kept = np.flatnonzero(strata >= 0)
    found = {name: np.zeros(0, dtype=np.int64) for name in SPLITS} if given is None else _named(given, kept)
    open_splits = [name for name in SPLITS if not len(found[name])]
    if given is not None and "train" in open_splits:
        raise DataError("split: expected samples of 'train', got none")
    if open_splits:
        pool = kept if given is None else found["train"]
        names = ["train", *(name for name in open_splits if name != "train")]
        if consecutive and groups is None:
            part = _neighbours(strata[pool], names)
        else:
            part = _draw(strata[pool], None if groups is None else groups[pool], names, seed)
        found |= {name: pool[part == place] for place, name in enumerate(names)}
    return {name: np.sort(found[name]) for name in SPLITS}


def within(positions: Positions, start: int, stop: int) -> Positions:
    """Return the sorted positions within ``start:stop``, relative to `start`.

    >>> within(np.array([2, 5, 6, 9]), 5, 9).tolist()
    [0, 1]
    """
    return positions[np.searchsorted(positions, start) : np.searchsorted(positions, stop)] - start


def _named(given: NDArray[Any], kept: Positions) -> dict[str, Positions]:
    names = np.asarray(given).astype(str)
    for unknown in set(np.unique(names).tolist()) - set(SPLITS):
        first = int(np.flatnonzero(names == unknown)[0])
        hint = nearest(unknown, SPLITS) or ("; did you mean 'validation'?" if unknown in ("val", "dev") else "")
        hint += "; menndl convert writes the usual names of splits as these" if hint else ""
        raise DataError(f"split: sample {first}: expected {', '.join(SPLITS)}, got {unknown!r}{hint}")
    return {name: kept[names[kept] == name] for name in SPLITS}


def _draw(strata: NDArray[Any], groups: NDArray[Any] | None, names: list[str], seed: int) -> NDArray[np.int64]:
    """Return for each sample the index of its split in `names`; no split stays empty."""
    share = np.array([SHARES[name] for name in names])
    share /= share.sum()
    units = "samples" if groups is None else "groups"
    number = len(strata) if groups is None else len(np.unique(groups))
    if number < len(names):
        raise DataError(f"split: expected at least {len(names)} {units} for {', '.join(names)}, got {number}")
    rng = np.random.default_rng(seed)
    return _sample_strata(strata, share, rng) if groups is None else _assign_groups(strata, groups, share, rng)


def _neighbours(strata: NDArray[Any], names: list[str]) -> NDArray[np.int64]:
    """Return for each of the samples in order the index of its split in `names`."""
    if len(strata) < len(names):
        raise DataError(f"split: expected at least {len(names)} samples for {', '.join(names)}, got {len(strata)}")
    _, stratum = np.unique(strata, return_inverse=True)
    parts = cut(len(strata), names, profile=np.eye(stratum.max() + 1)[stratum])
    part = np.zeros(len(strata), dtype=np.int64)
    for place, name in enumerate(names):
        part[slice(*parts[name])] = place
    return part


def _sample_strata(strata: NDArray[Any], share: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Sample the shuffled strata systematically, rarest first: each, and the whole, gets its share up to one sample."""
    shuffled = rng.permutation(len(strata))
    _, stratum, sizes = np.unique(strata[shuffled], return_inverse=True, return_counts=True)
    order = shuffled[np.lexsort((stratum, sizes[stratum]))]
    sequence = _split_sequence(share, min(len(strata), 2000))  # the shares repeat long before that
    part = np.empty(len(strata), dtype=np.int64)
    part[order] = np.resize(sequence, len(strata))
    for missing in set(range(len(share))) - set(np.unique(part).tolist()):  # with very few samples
        part[order[np.flatnonzero(part[order] == 0)[-1]]] = missing
    return part


def _split_sequence(share: NDArray[np.float64], length: int) -> NDArray[np.int64]:
    """Return a sequence of splits; each prefix has each split's share, up to one.

    >>> _split_sequence(np.array([0.5, 0.25, 0.25]), 8).tolist()
    [0, 1, 2, 0, 0, 1, 2, 0]
    """
    counts = np.zeros(len(share))
    places = []
    for step in range(1, length + 1):
        place = int(np.argmax(share * step - counts))
        counts[place] += 1
        places.append(place)
    return np.array(places, dtype=np.int64)


def _assign_groups(
    strata: NDArray[Any], groups: NDArray[Any], share: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Assign whole groups, large ones first, each to the split that lacks most of the group's strata."""
    _, group = np.unique(groups, return_inverse=True)
    _, stratum = np.unique(strata, return_inverse=True)
    held = np.zeros((group.max() + 1, stratum.max() + 1))
    np.add.at(held, (group, stratum), 1)
    held /= held.sum(axis=0)  # a rare stratum matters as much as a frequent one
    sizes = np.bincount(group)
    shuffled = rng.permutation(len(held))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    lacks = np.outer(share, np.ones(held.shape[1]))
    room = share * len(strata)
    place_of = np.empty(len(held), dtype=np.int64)
    for step, unit in enumerate(order):
        empty = np.flatnonzero(room == share * len(strata))
        candidates = empty if len(empty) >= len(order) - step else np.arange(len(share))
        need = lacks[candidates] @ held[unit] / share[candidates] + room[candidates] / (share[candidates] * len(strata))
        place = candidates[int(np.argmax(need))]
        place_of[unit] = place
        lacks[place] -= held[unit]
        room[place] -= sizes[unit]
    return place_of[group]
