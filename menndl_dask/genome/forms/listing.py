"""Listing: the layers of a network in an order in which repeated parts are listed alike. Pure.

The canonical order does not do for that: there the order of a layer's sources depends on the whole network. Here it
depends only on what lies between the layer and its dominator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from menndl_dask.genome.forms.dominators import ROOT, DominatorTree
from menndl_dask.genome.topology import Sources

_PRIME, _BASE = 2**61 - 1, 0x1F3D5B79A2C4E68 | 1  # of sums that stand for sequences


@dataclass(frozen=True, slots=True)
class Listing:
    """The layers of a graph in such an order; what is said of a layer is said by its place in this order.

    Parameters
    ----------
    order
        The index of each layer in the graph.
    sources
        The places of what each reads (``-1 - v`` is the view ``v``), in the order that counts where the order counts.
    reach
        The last place where it is read, -1 if it is not.
    begins
        The first place of the layers between its dominator and itself, if these are read nowhere else.
    dominator
        The place of its dominator (``-1 - v``: a view), None if it depends on several views.
    content
        A number that is the same for two layers if the same lies between them and their dominators.
    """

    order: list[int]
    sources: list[Sources]
    reach: list[int]
    begins: list[int]
    dominator: list[int | None]
    content: list[int]

    @classmethod
    def of(cls, colours: Sequence[int], sources: Sequence[Sources], output: int, ordered: Sequence[bool]) -> Listing:
        """List the layers on which the output depends.

        Parameters
        ----------
        colours
            For each layer a number, the same for layers that do the same.
        sources
            For each layer the indices of what it reads, each before the layer.
        output
            The index of the layer that is the output.
        ordered
            For each layer whether the order of its sources counts.
        """
        tree = DominatorTree(sources)
        contents, sums = contents_of(tree, colours, sources, ordered)
        listed: list[Sources] = []
        for i, node in enumerate(sources):
            above = tree.parent[tree.of(i)]
            within = [_between(tree, sums, above, tree.of(s)) for s in node]
            listed.append(tuple(s for _, s in sorted(zip(within, node, strict=True))))
        order, started = _depth_first(listed, output)
        place = {node: i for i, node in enumerate(order)}
        moved = [tuple(place[s] if s >= 0 else s for s in (sources if ordered[i] else listed)[i]) for i in order]
        moved = [
            node if ordered[i] else tuple(sorted(node, reverse=True)) for i, node in zip(order, moved, strict=True)
        ]
        reach = [-1] * len(order)
        for i, node in enumerate(moved):
            for s in node:
                if s >= 0:
                    reach[s] = max(reach[s], i)
        parents = [tree.parent[tree.of(i)] for i in order]
        dominators = [None if a == ROOT else place[a - 1 - tree.views] if a > tree.views else -a for a in parents]
        begins = [max(started[i], -1 if d is None else d + 1) for i, d in zip(order, dominators, strict=True)]
        return cls(order, moved, reach, begins, dominators, [contents[i] for i in order])

    def paths(self) -> Iterator[list[int]]:
        """Yield sequences of places, each the dominator of the next; each place is in one of them."""
        following = {d: i for i, d in enumerate(self.dominator) if d is not None}  # the last one remains
        for i, d in enumerate(self.dominator):
            if d is None or d < 0 or following[d] != i:
                path = [i]
                while path[-1] in following:
                    path.append(following[path[-1]])
                yield path

    def is_closed(self, low: int, high: int, entry: int | None) -> bool:
        """Tell whether the layers from one place to another read only one tensor, and only the last is read outside."""
        if entry is None or max(self.reach[low:high], default=-1) > high:
            return False
        return all(s >= low or s == entry for node in self.sources[low : high + 1] for s in node)


def contents_of(
    tree: DominatorTree, colours: Sequence[int], sources: Sequence[Sources], ordered: Sequence[bool]
) -> tuple[list[int], list[int]]:
    """Return for each layer what lies between its dominator and it, and for each node of the tree the sum of these."""
    sums = [0, *range(1, tree.views + 1)]
    contents = []
    for i, node in enumerate(sources):
        above = tree.parent[tree.of(i)]
        parts = [_between(tree, sums, above, tree.of(s)) for s in node]
        content = hash_of(colours[i], *(part for pair in (parts if ordered[i] else sorted(parts)) for part in pair))
        contents.append(content)
        sums.append((sums[above] * _BASE + content) % _PRIME)
    return contents, sums


def _between(tree: DominatorTree, sums: Sequence[int], above: int, node: int) -> tuple[int, int]:
    """Return minus the number of steps in the tree to a node from one above it, and a number for these steps."""
    steps = tree.depth[node] - tree.depth[above]
    return -steps, (sums[node] - sums[above] * pow(_BASE, steps, _PRIME)) % _PRIME


def hash_of(*parts: int) -> int:
    """Return one number for several in this order, the same in every process."""
    found = len(parts)
    for part in parts:
        found = (found * _BASE + part + 1) % _PRIME
        found ^= found >> 29
    return found


def _depth_first(sources: Sequence[Sources], output: int) -> tuple[list[int], dict[int, int]]:
    """Return the post-order of a walk from the output, and how many were listed before each was begun."""
    order: list[int] = []
    started: dict[int, int] = {}
    stack = [(output, False)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif node not in started:
            started[node] = len(order)
            stack.append((node, True))
            stack.extend((s, False) for s in reversed(sources[node]) if s >= 0 and s not in started)
    return order, started
