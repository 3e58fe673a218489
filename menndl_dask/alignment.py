"""Alignment: which layers of one network stand for which layers of another. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

Form = tuple[str, tuple[tuple[int, ...], ...]]
"""A layer as alignment sees it: its kind, and the shapes of its weights."""


def aligned(child: Sequence[Form], parent: Sequence[Form]) -> tuple[int | None, ...]:
    """Return for each layer of a child the place of its counterpart in the parent, or nothing.

    Counterparts have the same form and follow each other in the same order in both networks: a longest common
    subsequence. Of equally many pairs those with the most weights are taken, and of equal ones the first.

    Parameters
    ----------
    child, parent
        Their layers with weights, in order.

    >>> conv, dense = ("Conv2D", ((3, 3, 8, 8), (8,))), ("Dense", ((8, 10), (10,)))
    >>> aligned([conv, conv, dense], [conv, dense])
    (0, None, 1)
    """
    # for each pair of tails: how many counterparts they have at most, and how many weights these hold
    best = [[(0, 0)] * (len(parent) + 1) for _ in range(len(child) + 1)]
    for i in range(len(child) - 1, -1, -1):
        for j in range(len(parent) - 1, -1, -1):
            best[i][j] = max(best[i + 1][j], best[i][j + 1])
            if child[i] == parent[j]:
                best[i][j] = max(best[i][j], _with(child[i], best[i + 1][j + 1]))
    places: list[int | None] = [None] * len(child)
    i = j = 0
    while i < len(child) and j < len(parent):
        if child[i] == parent[j] and best[i][j] == _with(child[i], best[i + 1][j + 1]):
            places[i] = j
            i, j = i + 1, j + 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            i += 1
    return tuple(places)


def weights_in(form: Form) -> int:
    """Return the number of weights of a layer.

    >>> weights_in(("Dense", ((8, 10), (10,))))
    90
    """
    return sum(math.prod(shape) for shape in form[1])


def _with(form: Form, rest: tuple[int, int]) -> tuple[int, int]:
    return rest[0] + 1, rest[1] + weights_in(form)
