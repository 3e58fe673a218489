"""Dominators: through which layer everything passes that a layer depends on. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from menndl_dask.genome.topology import Sources

ROOT = 0  # before all views


class DominatorTree:
    """The tree in which each node hangs from the last node that all paths from the views to it have in common.

    The nodes are the root, the views, and the layers of a graph in their order; see `of`.

    Parameters
    ----------
    sources
        For each layer the indices of what it reads, each before the layer; ``-1 - v`` is the view ``v``.

    >>> tree = DominatorTree([(-1,), (0,), (0,), (1, 2)])
    >>> [tree.parent[tree.of(i)] == tree.of(0) for i in (1, 2, 3)]
    [True, True, True]
    """

    def __init__(self, sources: Sequence[Sources]) -> None:
        self.views = max((-s for node in sources for s in node if s < 0), default=0)
        self.parent = [ROOT] * (1 + self.views)
        self.depth = [0] + [1] * self.views
        self._jump = [ROOT] * (1 + self.views)  # a farther ancestor, so that searches take logarithmic time
        for node in sources:
            parent = self.of(node[0])
            for s in node[1:]:
                parent = self._common(parent, self.of(s))
            jump = self._jump[parent]
            even = self.depth[parent] - self.depth[jump] == self.depth[jump] - self.depth[self._jump[jump]]
            self._jump.append(self._jump[jump] if even else parent)
            self.parent.append(parent)
            self.depth.append(self.depth[parent] + 1)

    def of(self, source: int) -> int:
        """Return the node of a layer or a view."""
        return source + 1 + self.views if source >= 0 else -source

    def _common(self, first: int, second: int) -> int:
        """Return the last node that hangs above both, or is one of them."""
        depth, jump, parent = self.depth, self._jump, self.parent
        if depth[first] < depth[second]:
            first, second = second, first
        while depth[first] > depth[second]:
            first = jump[first] if depth[jump[first]] >= depth[second] else parent[first]
        while first != second:
            apart = jump[first] != jump[second]
            first = jump[first] if apart else parent[first]
            second = jump[second] if apart else parent[second]
        return first
