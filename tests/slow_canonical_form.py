"""The canonical form as version 0.4.0 found it (joins other than two came later): all stored keys depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import pairwise

from menndl_dask.genome.forms.label import label
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import ASSOCIATIVE, JOINS, Layer, with_inputs
from menndl_dask.genome.topology import Sources, consumers, live

_MASK = 2**64 - 1
_FACTOR = 0x9E3779B97F4A7C15
_OUTPUT, _INNER, _FIRST = 2**40 + 1, 2**40 + 2, 2**40 + 3
_VIEWS = 2**32


def canonical(genome: Genome) -> Genome:
    """Return the canonical form of a genome."""
    layers, sources, output = simplify(genome.layers, genome.sources)
    labels = [label(with_inputs(layer, (1,))) for layer in layers]
    joins = [layer.join if len(node) > 1 else "" for layer, node in zip(layers, sources, strict=True)]
    adds = [join not in ("", "concatenate") for join in joins]
    ordered = order_matters(sources, adds, [layer.channel_role for layer in layers])
    ordered = [each or join == "subtract" for each, join in zip(ordered, joins, strict=True)]
    order, sources = canonical_order(labels, sources, output, ordered)
    place = {old: new for new, old in enumerate(order)}
    moved = [tuple(place[s] if s >= 0 else s for s in sources[old]) for old in order]
    return Genome.connect([layers[old] for old in order], moved, genome.settings)


def simplify(layers: Sequence[Layer], sources: list[Sources]) -> tuple[list[Layer], list[Sources], int]:
    """Return the layers that make a difference, the sources of each, and the index of the output.

    The output is negative (``-1 - v``) if no layer is left and the network returns the view ``v``.
    """
    kept = [with_inputs(layer, (1,)).simplified() for layer in layers]
    output = len(kept) - 1
    while True:
        sources = [tuple(dict.fromkeys(node)) for node in sources]
        kept = [
            n if len(s) > 1 or n.join == JOINS[0] else replace(n, join=JOINS[0])
            for n, s in zip(kept, sources, strict=True)
        ]
        kept, sources, output = _without_dead(kept, sources, output)
        if output >= 0:
            kept[output] = kept[output].at_end()
        dropped = _redundant(kept, sources, output)
        if dropped is None:
            return kept, sources, output
        node, changed = dropped
        for reader, (layer, read) in changed.items():
            kept[reader], sources[reader] = layer.simplified(), read
        if not changed:
            source = sources[node][0]
            sources = [tuple(source if s == node else s for s in each) for each in sources]
            output = source if output == node else output


def _without_dead(layers: list[Layer], sources: list[Sources], output: int) -> tuple[list[Layer], list[Sources], int]:
    """Remove the layers on which the output does not depend."""
    alive = live(sources, output)
    if all(alive):
        return layers, sources, output
    kept = [i for i, a in enumerate(alive) if a]
    place = {old: new for new, old in enumerate(kept)}
    moved = [tuple(place[s] if s >= 0 else s for s in sources[i]) for i in kept]
    return [layers[i] for i in kept], moved, place.get(output, output)


def _redundant(
    layers: list[Layer], sources: list[Sources], output: int
) -> tuple[int, dict[int, tuple[Layer, Sources]]] | None:
    """Find a redundant layer; None if there is none.

    Returns
    -------
    int
        The index of the layer.
    dict
        What its readers become and read without it. Where it is empty, they read the only source of the layer.
    """
    readers = consumers(sources)
    for i, (layer, node) in enumerate(zip(layers, sources, strict=True)):
        # a network that reads a further view and has no layers needs one to say so
        if len(node) == 1 and layer.is_identity and not (i == output and node[0] < -1):
            return i, {}
    for i, (layer, node) in enumerate(zip(layers, sources, strict=True)):
        if i == output:
            continue
        if any(len(sources[r]) > 1 for r in readers[i]):
            if spliced := _spliced(i, layers, sources, readers[i]):
                return i, spliced
            continue
        undone = 1 in (len(node), len(readers[i])) and all(layer.is_undone_by(layers[r]) for r in readers[i])
        if layer.is_identity or undone:
            return i, {r: (replace(layers[r], join=layer.join), node) for r in readers[i]}
        merged = layer.absorb(layers[readers[i][0]]) if len(readers[i]) == 1 else None
        if merged is not None:
            return i, {readers[i][0]: (replace(merged, join=layer.join), node)}
    return None


def _spliced(
    i: int, layers: list[Layer], sources: list[Sources], readers: list[int]
) -> dict[int, tuple[Layer, Sources]]:
    """Replace a layer that only joins by its sources where its only reader joins alike: a sum of sums is one sum."""
    r, node = readers[0], sources[i]
    alike = len(readers) == 1 and layers[i].is_identity and layers[i].join == layers[r].join
    if not alike or layers[r].join not in ASSOCIATIVE or set(node) & set(sources[r]):
        return {}
    place = sources[r].index(i)
    return {r: (layers[r], (*sources[r][:place], *node, *sources[r][place + 1 :]))}


def canonical_order(
    labels: Sequence[str], sources: Sequence[Sources], output: int, ordered: Sequence[bool]
) -> tuple[list[int], list[Sources]]:
    """Return the live nodes in canonical order, and each one's sources in canonical order (old indices).

    The result is the same for two graphs that differ only in the numbers of their nodes, and in the order of the
    sources of nodes that are not `ordered`. The colour of a node is made of its label, the colours of what it reads
    and the colours of what reads it, again and again (Weisfeiler–Leman refinement), until the sources of every node
    differ. Sources that have the same colour even then are told apart one by one. Sources are sorted by colour, and
    nodes are listed in the post-order of a depth-first walk from the output.
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
        For each node whether it adds its sources; else it concatenates them.
    channels
        For each node what becomes of the channels: ``mixed`` (by weights; any order does), ``kept`` (each by itself),
        ``fixed`` (their order means something), or ``grouped`` (they are read in any order, but the order of those
        that are given means something).
    """
    classes = _Classes(1 + max((-s for node in sources for s in node if s < 0), default=0))
    concatenates = [len(node) > 1 and not add for node, add in zip(sources, adds, strict=True)]
    for i, (node, add, kind) in enumerate(zip(sources, adds, channels, strict=True)):
        if add:
            classes.join(*node)
        if kind == "kept" and not concatenates[i]:
            classes.join(i, node[0])
    deciding = {classes.of(-s): 1 for s in range(1, classes.views)}  # the channels of a view have the order they have
    for i, kind in enumerate(channels):
        if kind in ("fixed", "grouped") or (kind == "kept" and concatenates[i]):
            deciding[classes.of(i)] = deciding.get(classes.of(i), 0) + 1
    rigid = {c for c, count in deciding.items() if count > 1}
    rigid |= {classes.of(s) for node, kind in zip(sources, channels, strict=True) if kind == "fixed" for s in node}
    links = [(classes.of(s), classes.of(i)) for i, node in enumerate(sources) for s in node
             if concatenates[i] and channels[i] == "kept"]  # fmt: skip
    while more := {source for source, reader in links if reader in rigid} - rigid:
        rigid |= more
    return [
        joins and (kind == "fixed" or (kind == "kept" and classes.of(i) in rigid))
        for i, (joins, kind) in enumerate(zip(concatenates, channels, strict=True))
    ]


class _Classes:
    """Disjoint sets of nodes (and views, as negative numbers)."""

    def __init__(self, views: int) -> None:
        self.views = views
        self._parent: dict[int, int] = {}

    def of(self, node: int) -> int:
        while (parent := self._parent.get(node, node)) != node:
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
    colours = [int.from_bytes(blake2b(label.encode(), digest_size=8).digest(), "big") for label in labels]
    together = [[s for s in sources[i] if s >= 0] for i in joining]
    different = 0
    while twins := [twin for nodes in together if (twin := _twin(nodes, colours)) is not None]:
        if len(set(colours)) == different:
            # refinement has ended; twins are nearly always mirror images of each other, and any of them will do
            first = colours.index(min(twins))
            colours[first] = _mixed(colours[first], _FIRST)
        different = len(set(colours))
        colours = _round(colours, sources, readers, output, ordered)
    return colours


def _twin(nodes: Sequence[int], colours: Sequence[int]) -> int | None:
    """Return the smallest colour that several of the nodes have, if there is one."""
    given = sorted(colours[node] for node in nodes)
    return next((one for one, other in pairwise(given) if one == other), None)


def _round(
    colours: Sequence[int],
    sources: Sequence[Sources],
    readers: Sequence[Sequence[int]],
    output: int,
    ordered: Sequence[bool],
) -> list[int]:
    """Refine colours once, from the views down to the output and back up."""
    down: list[int] = []
    for i, node in enumerate(sources):
        read = [-s if s < 0 else down[s] for s in node]
        down.append(_mixed(colours[i], *(read if ordered[i] else sorted(read))))
    up = list(down)
    for i in reversed(range(len(sources))):
        seen = sorted(_mixed(up[r], sources[r].index(i)) if ordered[r] else up[r] for r in readers[i])
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
