"""The drawing of a deep network at first sight: no more than a screen high, with all layers below on request. Pure.

Where the drawing of all layers is higher than a screen, layers that follow each other without a branch share a box:
first those of one image size, then, if that is not enough, all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from menndl_dask.report.network_drawing import Box, draw_boxes, height_of
from menndl_dask.report.page import scrolling
from menndl_dask.text import counted

SCREEN = 820.0  # pixels of a page that a usual screen shows
_KINDS = 3  # that the box of several layers names


def drawings(nodes: Sequence[Box]) -> str:
    """Return the drawing of boxes as HTML; a high one with fewer boxes, and all layers below it, on a click."""
    first = at_first_sight(nodes)
    shown = f'<div class="first">{scrolling(draw_boxes(first))}</div>'  # the style sheet shrinks what is still too high
    if len(first) == len(nodes):
        return shown
    layers = sum(1 for node in nodes if node.family not in ("view", "head"))
    whole = f"<details><summary>All {counted(layers, 'layer')}</summary>{scrolling(draw_boxes(nodes))}</details>"
    return shown + whole


def at_first_sight(nodes: Sequence[Box]) -> list[Box]:
    """Return the boxes of a network, fewer if their drawing would be higher than a screen."""
    if height_of(nodes) <= SCREEN:
        return list(nodes)
    by_size = _merged(nodes, by_size=True)
    return by_size if height_of(by_size) <= SCREEN else _merged(nodes, by_size=False)


def _merged(nodes: Sequence[Box], *, by_size: bool) -> list[Box]:
    """Return boxes of which each stands for layers that follow each other without a branch."""
    readers = Counter(s for node in nodes for s in node.sources)
    chains: list[list[int]] = []
    place: dict[int, int] = {}  # of each box, the number of its chain
    for i, node in enumerate(nodes):
        before = node.sources[0] if len(node.sources) == 1 else None
        if before is not None and readers[before] == 1 and _alike(nodes[before], node, by_size=by_size):
            place[i] = place[before]
            chains[place[i]].append(i)
        else:
            place[i] = len(chains)
            chains.append([i])
    found = []
    for chain in chains:
        first = nodes[chain[0]]
        box = first if len(chain) == 1 else _one(first, [nodes[i] for i in chain])
        cell = None if first.cell is None else place[first.cell]
        found.append(replace(box, sources=tuple(place[s] for s in first.sources), cell=cell))
    return found


def _alike(before: Box, node: Box, *, by_size: bool) -> bool:
    if {before.family, node.family} & {"view", "head"} or before.cell != node.cell:
        return False
    return not by_size or before.shape[:-1] == node.shape[:-1]


def _one(first: Box, members: Sequence[Box]) -> Box:
    """Return the box of several layers: what they are, the shape after the last, and what they cost together."""
    titles = Counter(member.title for member in members)
    named = [f"{n} × {title}" if n > 1 else title for title, n in titles.most_common(_KINDS)]
    detail = ", ".join(named) + (", …" if len(titles) > _KINDS else "")
    main = max(members, key=lambda member: member.flops_forward)
    costs = tuple(cost for member in members for cost in member.costs)
    title = counted(len(members), "layer")
    return replace(first, title=title, detail=detail, shape=members[-1].shape, costs=costs, family=main.family)
