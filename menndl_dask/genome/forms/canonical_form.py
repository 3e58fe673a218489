"""Canonical form: removes from a network all that makes no difference to its output. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from menndl_dask.genome.layer import ASSOCIATIVE, JOINS, Layer, with_inputs
from menndl_dask.genome.topology import Sources, consumers, live, order_matters


def simplify(
    layers: Sequence[Layer], sources: list[Sources]
) -> tuple[list[Layer], list[Sources], int, list[tuple[int, ...]]]:
    """Return the layers that make a difference, the sources of each, the index of the output, and their origins.

    The output is negative (``-1 - v``) if no layer is left and the network returns the view ``v``. The origins of a
    layer are the indices of the given layers that it does the work of, in order.
    """
    origins: list[tuple[int, ...]] = [(i,) for i in range(len(layers))]
    kept = [with_inputs(layer, (1,)).simplified() for layer in layers]
    output = len(kept) - 1
    while True:
        sources = [tuple(dict.fromkeys(node)) for node in sources]
        kept = [
            n if len(s) > 1 or n.join == JOINS[0] else replace(n, join=JOINS[0])
            for n, s in zip(kept, sources, strict=True)
        ]
        kept, sources, output, origins = _without_dead(kept, sources, output, origins)
        if output >= 0:
            kept[output] = kept[output].at_end()
        dropped = _redundant(kept, sources, output)
        if dropped is None:
            return kept, sources, output, origins
        node, changed = dropped
        for reader, (layer, read) in changed.items():
            kept[reader], sources[reader] = layer.simplified(), read
            origins[reader] = (*origins[node], *origins[reader])
        if not changed:
            source = sources[node][0]
            sources = [tuple(source if s == node else s for s in each) for each in sources]
            output = source if output == node else output


def ordered_joins(layers: Sequence[Layer], sources: Sequence[Sources]) -> list[bool]:
    """Return for each layer whether the order of its sources makes a difference."""
    joins = [layer.join if len(node) > 1 else "" for layer, node in zip(layers, sources, strict=True)]
    by_value = [join not in ("", "concatenate") for join in joins]
    ordered = order_matters(sources, by_value, [layer.channel_role for layer in layers])
    return [each or join == "subtract" for each, join in zip(ordered, joins, strict=True)]


def _without_dead(
    layers: list[Layer], sources: list[Sources], output: int, origins: list[tuple[int, ...]]
) -> tuple[list[Layer], list[Sources], int, list[tuple[int, ...]]]:
    """Remove the layers on which the output does not depend."""
    alive = live(sources, output)
    if all(alive):
        return layers, sources, output, origins
    kept = [i for i, a in enumerate(alive) if a]
    place = {old: new for new, old in enumerate(kept)}
    moved = [tuple(place[s] if s >= 0 else s for s in sources[i]) for i in kept]
    return [layers[i] for i in kept], moved, place.get(output, output), [origins[i] for i in kept]


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
