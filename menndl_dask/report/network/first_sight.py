"""The drawing of a deep network at first sight: no more than a screen high, with all layers below on request. Pure.

Where the drawing of all layers is higher than a screen, layers that follow each other without a branch share a box:
first those of one image size, then, if that is not enough, all of them. In networks of many blocks with branches, all
blocks of one image size share a box.
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
    shown = f'<div class="first">{scrolling(draw_boxes(first))}</div>'  # what is still too high scrolls
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
    if height_of(by_size) <= SCREEN:
        return by_size
    chained = _merged(nodes, by_size=False)
    return chained if height_of(chained) <= SCREEN else _by_blocks(nodes)


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


def _by_blocks(nodes: Sequence[Box]) -> list[Box]:
    """Return boxes of which each stands for all layers of one image size, with their branches.

    A box ends where no connection passes it by. Of a network with a connection around most of it, such as a U-Net,
    little can be drawn as one box.
    """
    last = list(range(len(nodes)))  # of each box, the furthest one that reads it
    for i, node in enumerate(nodes):
        for source in node.sources:
            last[source] = i
    groups: list[list[int]] = []
    reach, is_end = 0, True  # the furthest box that reads one before this one; whether none passes this one by
    for i, node in enumerate(nodes):
        before = nodes[max(i - 1, 0)]
        is_alone = bool({before.family, node.family} & {"view", "head"})
        if groups and not is_alone and (not is_end or before.shape[:-1] == node.shape[:-1]):
            groups[-1].append(i)
        else:
            groups.append([i])
        is_end = reach <= i
        reach = max(reach, last[i])
    place = {i: number for number, group in enumerate(groups) for i in group}
    found = []
    for number, group in enumerate(groups):
        members = [nodes[i] for i in group]
        read = sorted({place[s] for node in members for s in node.sources} - {number})
        box = members[0] if len(group) == 1 else replace(_one(members[0], members, repeated=True), join="", times=1)
        found.append(replace(box, sources=tuple(read), cell=None))
    return found


def _alike(before: Box, node: Box, *, by_size: bool) -> bool:
    if {before.family, node.family} & {"view", "head"} or before.cell != node.cell:
        return False
    return not by_size or before.shape[:-1] == node.shape[:-1]


def _one(first: Box, members: Sequence[Box], *, repeated: bool = False) -> Box:
    """Return the box of several layers: what they are, the shape after the last, and what they cost together.

    With `repeated`, those of a cell count as often as it is repeated; else its frame says how often.
    """
    titles: Counter[str] = Counter()
    for member in members:
        titles[member.title] += member.times if repeated else 1
    named = [f"{n} × {title}" if n > 1 else title for title, n in titles.most_common(_KINDS)]
    detail = ", ".join(named) + (", …" if len(titles) > _KINDS else "")
    main = max(members, key=lambda member: member.flops_forward)
    costs = tuple(cost for member in members for cost in member.costs)
    title = counted(titles.total(), "layer")
    return replace(first, title=title, detail=detail, shape=members[-1].shape, costs=costs, family=main.family)
