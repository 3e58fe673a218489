"""Topology: the directed graph that the layers of a genome form. Pure.

A network is a tuple of nodes in an order where each node comes after those that it reads. A node is written
as the tuple of its *sources*: indices of earlier nodes, or ``-1 - v`` for the problem's input view ``v``.
Nothing here knows what a layer does.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

Sources = tuple[int, ...]


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
    """Tell for each node whether the output depends on it."""
    alive = [False] * len(sources)
    stack = [output] if output >= 0 else []
    while stack:
        node = stack.pop()
        if not alive[node]:
            alive[node] = True
            stack.extend(s for s in sources[node] if s >= 0)
    return alive


def canonical_order(labels: Sequence[str], sources: Sequence[Sources], output: int) -> tuple[list[int], list[Sources]]:
    """Return the live nodes in canonical order, and each one's sources in canonical order (old indices).

    Two graphs that differ only in how their nodes are numbered and in the order in which a node
    names its sources come out the same: a node's colour is made of its label, the colours of what it reads
    and the colours of what reads it (Weisfeiler–Leman refinement); sources are sorted by colour; nodes are
    listed as a depth-first walk from the output leaves them. Nodes that the colours cannot tell apart keep the order they had.
    """
    if output < 0:
        return [], []
    if _is_chain(sources, output):
        return list(range(len(sources))), list(sources)
    colours = _colours(labels, sources, output)
    ordered = [tuple(sorted(node, key=lambda s: _colour_of(s, colours))) for node in sources]
    return _post_order(ordered, output), ordered


def _is_chain(sources: Sequence[Sources], output: int) -> bool:
    return output == len(sources) - 1 and all(node == (i - 1,) for i, node in enumerate(sources))


def _colours(labels: Sequence[str], sources: Sequence[Sources], output: int) -> list[bytes]:
    alive, readers = live(sources, output), consumers(sources)
    down: list[bytes] = []
    for label, node in zip(labels, sources, strict=True):
        down.append(_digest(label.encode(), *sorted(_colour_of(s, down) for s in node)))
    up = list(down)
    for i in reversed(range(len(sources))):
        seen_by = sorted(up[r] for r in readers[i] if alive[r])
        up[i] = _digest(down[i], b"output" if i == output else b"", *seen_by)
    return [_digest(label.encode(), up[i]) for i, label in enumerate(labels)]


def _colour_of(source: int, colours: Sequence[bytes]) -> bytes:
    # a view sorts before every layer, by its number
    return b"\x00" * 8 + (-source).to_bytes(4, "big") if source < 0 else b"\x01" + colours[source]


def _digest(*parts: bytes) -> bytes:
    return blake2b(b"\x1f".join(parts), digest_size=8).digest()


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
