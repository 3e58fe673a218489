"""Topology: the directed graph that the layers of a genome form. Pure.

A network is a tuple of nodes in an order where each node comes after those that it reads. A node is written
as the tuple of its *sources*: indices of earlier nodes, or ``-1 - v`` for the problem's input view ``v``.
What the layers do makes no difference here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import pairwise

Sources = tuple[int, ...]
_MOST_WORK = 500_000  # visits of a node to tell twins apart, after which they stay in the order in which they came
_MASK = 2**64 - 1  # colours have 64 bits
_FACTOR = 0x9E3779B97F4A7C15  # odd, its digits without a pattern: those of the golden ratio
_OUTPUT, _INNER, _FIRST = 2**40 + 1, 2**40 + 2, 2**40 + 3  # marks beside colours
_VIEWS = 2**32  # more than a problem has


def absolute(offsets: Sequence[Sources]) -> list[Sources]:
    """Turn offsets (1 is the neighbour before) into indices of sources.

    >>> absolute([(1,), (1,), (1, 2)])
    [(-1,), (0,), (1, 0)]
    """
    return [tuple(i - d for d in node) for i, node in enumerate(offsets)]


def relative(sources: Sequence[Sources]) -> list[Sources]:
    """Turn indices of sources into offsets."""
    return [tuple(i - s for s in node) for i, node in enumerate(sources)]


def consumers(sources: Sequence[Sources]) -> list[list[int]]:
    """Return for each node the nodes that read it."""
    readers: list[list[int]] = [[] for _ in sources]
    for i, node in enumerate(sources):
        for s in node:
            if s >= 0:
                readers[s].append(i)
    return readers


def live(sources: Sequence[Sources], output: int) -> list[bool]:
    """Return for each node whether the output depends on it."""
    alive = [False] * len(sources)
    stack = [output] if output >= 0 else []
    while stack:
        node = stack.pop()
        if not alive[node]:
            alive[node] = True
            stack.extend(s for s in sources[node] if s >= 0)
    return alive


def canonical_order(
    labels: Sequence[str], sources: Sequence[Sources], output: int, ordered: Sequence[bool]
) -> tuple[list[int], list[Sources]]:
    """Return the live nodes in canonical order, and each one's sources in canonical order (old indices).

    The result is the same for two graphs that differ only in the numbers of their nodes, and in the order of the
    sources of nodes that are not `ordered`. The colour of a node is made of its label, the colours of what it reads
    and the colours of what reads it, again and again (Weisfeiler–Leman refinement), until the sources of every node
    differ. Sources that have the same colour even then are told apart one by one. Sources are sorted by colour, and
    nodes are listed in the post-order of a depth-first walk from the output.

    To tell twins apart one by one takes longer the more there are. In a network of thousands of layers with hundreds
    of twins, those that are left after `_MOST_WORK` keep the order in which they came. They are nearly always mirror
    images of each other, and then it makes no difference.
    """
    if output < 0:
        return [], []
    if output == len(sources) - 1 and all(node == (i - 1,) for i, node in enumerate(sources)):  # a chain
        return list(range(len(sources))), list(sources)
    listed = list(sources)
    alive = live(sources, output)
    joining = [i for i, node in enumerate(sources) if len(node) > 1 and not ordered[i] and alive[i]]
    if joining:
        colours = _colours(labels, sources, output, ordered, joining)
        for i in joining:
            # a view sorts before every layer, by its number
            listed[i] = tuple(sorted(sources[i], key=lambda s: -1 - s if s < 0 else _VIEWS + colours[s]))
    return _post_order(listed, output), listed


def order_matters(sources: Sequence[Sources], adds: Sequence[bool], channels: Sequence[str]) -> list[bool]:
    """Return for each node whether the order in which it concatenates its sources makes a difference.

    It makes no difference if weights follow that read all channels, because the weights can be permuted. But an
    addition lines channels up. So tensors whose channels are lined up with each other form a class. A class in which
    only one concatenation decides the order can be permuted as a whole, if every concatenation that reads from it can
    be, too.

    Parameters
    ----------
    sources
        The graph.
    adds
        For each node whether it adds its sources, or joins them value by value otherwise; else it concatenates them.
    channels
        For each node what becomes of the channels: ``mixed`` (by weights; any order does), ``kept`` (each by itself),
        ``fixed`` (their order means something), or ``grouped`` (they are read in any order, but the order of those
        that are given means something).
    """
    classes = _Classes()
    concatenates = [len(node) > 1 and not add for node, add in zip(sources, adds, strict=True)]
    if not any(concatenates):
        return concatenates
    for i, (node, add, kind) in enumerate(zip(sources, adds, channels, strict=True)):
        if add:
            classes.join(*node)
        if kind == "kept" and not concatenates[i]:
            classes.join(i, node[0])
    views = {s for node in sources for s in node if s < 0}
    deciding = {classes.of(s): 1 for s in views}  # the channels of a view have the order they have
    for i, kind in enumerate(channels):
        if kind in ("fixed", "grouped") or (kind == "kept" and concatenates[i]):
            deciding[classes.of(i)] = deciding.get(classes.of(i), 0) + 1
    rigid = {c for c, count in deciding.items() if count > 1}
    rigid |= {classes.of(s) for node, kind in zip(sources, channels, strict=True) if kind == "fixed" for s in node}
    read: dict[int, list[int]] = {}  # by classes that concatenate and keep channels: the classes of these
    for i, node in enumerate(sources):
        if concatenates[i] and channels[i] == "kept":
            read.setdefault(classes.of(i), []).extend(classes.of(s) for s in node)
    waiting = list(rigid)
    while waiting:
        more = set(read.pop(waiting.pop(), ())) - rigid
        rigid |= more
        waiting.extend(more)
    return [
        joins and (kind == "fixed" or (kind == "kept" and classes.of(i) in rigid))
        for i, (joins, kind) in enumerate(zip(concatenates, channels, strict=True))
    ]


class _Classes:
    """Disjoint sets of nodes (and views, as negative numbers)."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def of(self, node: int) -> int:
        parents = self._parent
        while (parent := parents.get(node, node)) != node:
            parents[node] = parents.get(parent, parent)  # halves the way for the next time
            node = parent
        return node

    def join(self, *nodes: int) -> None:
        for node in nodes[1:]:
            self._parent[self.of(node)] = self.of(nodes[0])


def _colours(
    labels: Sequence[str], sources: Sequence[Sources], output: int, ordered: Sequence[bool], joining: Sequence[int]
) -> list[int]:
    """Return colours that differ among the sources of each joining node."""
    readers = consumers(sources)
    places = {(i, s): place for i, node in enumerate(sources) if ordered[i] for place, s in enumerate(node)}
    colours = [int.from_bytes(blake2b(label.encode(), digest_size=8).digest(), "big") for label in labels]
    together = [[s for s in sources[i] if s >= 0] for i in joining]
    visits = len(sources) + sum(map(len, sources))
    different, work = 0, 0
    while (together := [nodes for nodes in together if _has_twins(nodes, colours)]) and work < _MOST_WORK:
        if (found := len(set(colours))) == different:
            # refinement has ended; twins are nearly always mirror images of each other, and any of them will do
            first = colours.index(min(_twin(nodes, colours) for nodes in together))
            colours[first] = _mixed(colours[first], _FIRST)
            found += 1
        different = found
        colours = _round(colours, sources, readers, output, places)
        work += visits
    return colours


def _has_twins(nodes: Sequence[int], colours: Sequence[int]) -> bool:
    return len({colours[node] for node in nodes}) < len(nodes)


def _twin(nodes: Sequence[int], colours: Sequence[int]) -> int:
    """Return the smallest colour that several of the nodes have."""
    given = sorted(colours[node] for node in nodes)
    return next(one for one, other in pairwise(given) if one == other)


def _round(
    colours: Sequence[int],
    sources: Sequence[Sources],
    readers: Sequence[Sequence[int]],
    output: int,
    places: Mapping[tuple[int, int], int],
) -> list[int]:
    """Refine colours once, from the views down to the output and back up.

    `places` tells for each node whose order of sources counts, and each source, where it stands.
    """
    down: list[int] = []
    for i, node in enumerate(sources):
        if len(node) == 1:
            (s,) = node
            down.append(_mixed(colours[i], -s if s < 0 else down[s]))
        else:
            read = [-s if s < 0 else down[s] for s in node]
            if (i, node[0]) not in places:
                read.sort()
            down.append(_mixed(colours[i], *read))
    up = list(down)
    for i in reversed(range(len(sources))):
        seen = [_mixed(up[r], places[r, i]) if (r, i) in places else up[r] for r in readers[i]]
        seen.sort()
        up[i] = _mixed(down[i], _OUTPUT if i == output else _INNER, *seen)
    return up


def _mixed(*parts: int) -> int:
    """Return one colour for several in this order, the same in every process and on every machine."""
    colour = len(parts)
    for part in parts:  # multiply and fold, so that every digit of each part counts in every digit of the next
        colour = ((colour ^ part) * _FACTOR) & _MASK
        colour ^= colour >> 32
    return colour


def _post_order(sources: Sequence[Sources], output: int) -> list[int]:
    order: list[int] = []
    done = [False] * len(sources)
    stack = [(output, False)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif not done[node]:
            done[node] = True
            stack.append((node, True))
            stack.extend((s, False) for s in reversed(sources[node]) if s >= 0 and not done[s])
    return order
