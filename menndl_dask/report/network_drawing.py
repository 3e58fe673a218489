"""Drawing of a network as inline SVG: one box per layer, with branches and skip connections. Pure.

A box is below its inputs and is indented by the number of times the image was halved, so that a U-Net looks like a U on
its side. A box has the layer's name and output shape, its settings, its parameters and the FLOPs of its forward pass.
The width of the bar in a box is the layer's share of all parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from html import escape
from typing import Any

from menndl_dask.errors import MenndlError
from menndl_dask.genome.cost import LayerCost, costs_as_written
from menndl_dask.genome.forms.cell import Cell
from menndl_dask.genome.gene import Gene, is_users
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import KINDS, Activation
from menndl_dask.genome.topology import Sources, absolute
from menndl_dask.problem import Problem
from menndl_dask.report.chart import element, text_width
from menndl_dask.text import quantity

_WIDTH, _HEIGHT, _GAP, _BESIDE = 262.0, 54.0, 18.0, 32.0  # size of a box and distances between boxes, pixels
_INDENT = 40.0  # per halving of the image, pixels
_LANE = 13.0  # between skip connections, pixels
_PAD = 14.0
_MARGIN = 7.0  # between the boxes of a cell and its frame

_TITLES = {kind.__name__: kind.drawn_title or kind.__name__ for kind in KINDS}  # a part of the head may be one of them
_QUIET: Mapping[str, tuple[Any, ...]] = {  # default values that are not shown
    "padding": ("same",),
    "bias": (True, False),
    "stride": ((1,),),
    "dilation": ((1,),),
    "activation": ("linear",),
    "normalisation": ("none",),
    "join": ("concatenate", "add"),
    "multiplier": (1,),
    "groups": (1,),
    "interpolation": ("nearest",),
}
_NAMED = ("stride", "dilation", "multiplier", "rate")  # settings that are shown with their name
_LAST = ("stride", "dilation", "padding", "multiplier", "groups", "activation", "normalisation", "bias", "join")


@dataclass(frozen=True, slots=True)
class Box:
    """A layer in the drawing: name, settings, output shape (empty if unknown), costs, and its input boxes.

    The costs are those of all its repetitions; there are none if they are not known. The family is the colour of the
    box: one of `Layer.drawn_family`, ``view`` or ``head``. The boxes of a cell have the place of its first one, and how
    often it is repeated.
    """

    title: str
    detail: str = ""
    shape: tuple[int, ...] = ()
    costs: tuple[LayerCost, ...] = ()
    family: str = "other"
    sources: Sources = ()
    join: str = ""
    cell: int | None = None
    times: int = 1

    @property
    def parameters(self) -> int | None:
        """Parameters of all repetitions; None if they are not known."""
        return sum(cost.parameters for cost in self.costs) if self.costs else None

    @property
    def flops_forward(self) -> float:
        """FLOPs of the forward pass for one sample, of all repetitions."""
        return sum(cost.flops_forward for cost in self.costs)


def draw_network(genome: Genome, problem: Problem | None = None) -> str:
    """Return the drawing of a network as SVG; without a problem, shapes, parameters and the head are missing."""
    return draw_boxes(boxes(genome, problem))


def height_of(nodes: Sequence[Box]) -> float:
    """Return the height of the drawing of boxes, pixels."""
    return max(y + _HEIGHT for _, y in _layout(nodes)) + _PAD


def draw_boxes(nodes: Sequence[Box]) -> str:
    """Return the drawing of boxes as SVG."""
    corners = _layout(nodes)
    total = sum(node.parameters or 0 for node in nodes)
    edges, right = _edges(nodes, corners)
    drawn = "".join(_box(node, corner, total) for node, corner in zip(nodes, corners, strict=True))
    content = _frames(nodes, corners) + "".join(edges) + drawn
    width = max([right, *(x + _WIDTH for x, _ in corners)]) + _PAD
    height = height_of(nodes)
    spoken = f"Drawing of a network of {len(nodes)} boxes: " + ", then ".join(node.title for node in nodes)
    return element(spoken, width, height, _ARROW + content, "network")


def boxes(genome: Genome, problem: Problem | None = None) -> list[Box]:
    """Return a box for each view, layer and part of the head; each follows its inputs.

    The layers of a cell have one box each, which has the parameters of all repetitions and the shape of the last one.
    """
    folded = genome.folded()
    if problem is not None:
        views = list(zip(problem.inputs, problem.facts.input_shapes, strict=True))
    else:
        count = max((-s for node in folded.sources for s in node if s < 0), default=1)
        views = [("" if count == 1 else str(v + 1), ()) for v in range(count)]
    drawn = [Box(f"Input {name}" if name else "Input", shape=shape, family="view") for name, shape in views]
    costs = _layer_costs(folded, problem)
    genes = [gene for gene in folded.genes if isinstance(gene, Layer)]
    places: list[int] = []  # of the boxes that show what the genes give
    done = 0  # layers whose costs are shown
    for gene, node in zip(genes, absolute([gene.inputs for gene in genes]), strict=True):
        read = tuple(min(-1 - s, len(views) - 1) if s < 0 else places[s] for s in node)
        if not isinstance(gene, Cell):
            drawn.append(_box_of(gene, read, costs[done : done + 1]))
            done += 1
        else:
            if len(read) > 1:
                drawn.append(_box_of(Activation("linear", join=gene.join), read, costs[done : done + 1]))
                read, done = (len(drawn) - 1,), done + 1
            first, size = len(drawn), len(gene.body)
            for j, (layer, within) in enumerate(zip(gene.body, gene.sources(), strict=True)):
                known = costs[done + j : done + size * gene.times : size]
                inner = tuple(first + s if s >= 0 else read[0] for s in within)
                drawn.append(replace(_box_of(layer, inner, known), cell=first, times=gene.times))
            done += size * gene.times
        places.append(len(drawn) - 1)
    for cost in costs[done:]:
        drawn.append(Box(_TITLES.get(cost.name, cost.name), "", cost.shape, (cost,), "head", (len(drawn) - 1,)))
    return drawn


def _box_of(layer: Layer, sources: Sources, costs: Sequence[LayerCost]) -> Box:
    """Return the box of a layer with what its repetitions cost."""
    shape = costs[-1].shape if costs else ()
    join = layer.join if len(sources) > 1 else ""
    if join and layer.is_identity:
        return Box("Join", "", shape, tuple(costs), "other", sources, join)
    title = layer.drawn_title or type(layer).__name__
    return Box(title, detail_of(layer), shape, tuple(costs), layer.drawn_family, sources, join)


def detail_of(gene: Any) -> str:
    """Return the settings of a gene as short text.

    >>> from menndl_dask.genome.layers import Convolution, Pooling
    >>> detail_of(Convolution(32, (3, 5), stride=(2,), normalisation="batch"))
    '32 · 3×5 · stride 2 · relu · batch norm'
    >>> detail_of(Pooling())
    '2 · max · stride 2'
    >>> detail_of(Convolution(32, groups=4))
    '32 · 3 · groups 4 · relu'
    """
    later = {f.name: f.default for f in fields(gene) if f.metadata.get("later")}
    names = [f.name for f in fields(gene)]
    names.sort(key=lambda name: _LAST.index(name) if name in _LAST else -1)
    values = ((name, getattr(gene, name)) for name in names if name != "inputs")
    named = {*_NAMED, *later} if is_users(type(gene)) else {*_NAMED, *later, "groups", "ratio"}
    shown = [(name, value) for name, value in values if value not in _QUIET.get(name, (later.get(name),))]
    return " · ".join(_setting(name, value, named=name in named) for name, value in shown)


def summary(genome: Genome, limit: int = 120) -> str:
    """Return a genome as one line of text, for a table or a tooltip."""
    text = ", ".join(map(_in_words, genome.folded().genes))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _in_words(gene: Gene) -> str:
    if isinstance(gene, Cell):
        return f"{gene.times} × " * (gene.times > 1) + f"[{', '.join(map(_in_words, gene.body))}]"
    return f"{type(gene).__name__}({detail_of(gene)})"


def _setting(name: str, value: Any, *, named: bool) -> str:
    if isinstance(value, tuple):
        text = "×".join(str(v) for v in value)
    else:
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
    if name == "normalisation":
        return f"{text} norm"
    return f"{name} {text}" if named else text


def _layer_costs(genome: Genome, problem: Problem | None) -> tuple[LayerCost, ...]:
    """Return the costs of the layers of a genome, those of cells one by one, and of the head; none if not known."""
    if problem is None:
        return ()
    try:
        return costs_as_written(genome, problem)
    except MenndlError:
        return ()  # an infeasible genome is drawn without shapes


def _layout(nodes: Sequence[Box]) -> list[tuple[float, float]]:
    """Return the top left corner of each box."""
    rows: list[int] = []
    for node in nodes:
        rows.append(1 + max((rows[s] for s in node.sources), default=-1))
    corners = [(0.0, 0.0)] * len(nodes)
    columns = [0] * len(nodes)
    largest = max((math.prod(n.shape[:-1]) for n in nodes if n.family == "view" and n.shape), default=1)
    for row in range(max(rows, default=-1) + 1):
        members = [i for i, r in enumerate(rows) if r == row]
        # below the leftmost input, so that a branch keeps its column
        wanted = {i: min((columns[s] for s in nodes[i].sources), default=0) for i in members}
        indent = min(_indent(nodes[i], largest) for i in members)
        free = 0
        for i in sorted(members, key=lambda i: (wanted[i], i)):
            columns[i] = max(free, wanted[i])
            free = columns[i] + 1
            corners[i] = (_PAD + indent + columns[i] * (_WIDTH + _BESIDE), _PAD + row * (_HEIGHT + _GAP))
    return corners


def _indent(node: Box, largest: int) -> float:
    if len(node.shape) < 2:  # a vector, or unknown shape
        return 0.0
    halvings = math.log2(max(1.0, largest / math.prod(node.shape[:-1]))) / (len(node.shape) - 1)
    return _INDENT * min(round(halvings), 5)


def _edges(nodes: Sequence[Box], corners: Sequence[tuple[float, float]]) -> tuple[list[str], float]:
    """Return the connections, and the position of the rightmost one."""
    paths: list[str] = []
    taken: list[tuple[float, float, float]] = []  # top, bottom and x of each lane in use
    for i, node in enumerate(nodes):
        for s in node.sources:
            (x1, y1), (x2, y2) = corners[s], corners[i]
            middle = x1 + _WIDTH / 2
            if all(not x <= middle <= x + _WIDTH for x, y in corners if y1 < y < y2):
                style, d = "edge", _straight(middle, y1 + _HEIGHT, x2 + _WIDTH / 2, y2)
            else:
                passed = [x for x, y in corners if y1 <= y <= y2]
                lane = _free_lane(max(x1, x2) + _WIDTH + _LANE, y1, y2, passed, taken)
                taken.append((y1, y2, lane))
                # right, round a corner, down, round a corner, and left
                start, end = f"M{x1 + _WIDTH:.1f} {y1 + _HEIGHT * 0.65:.1f}", f"H{x2 + _WIDTH + 3:.1f}"
                down = f"H{lane - 7:.1f}q7 0 7 7V{y2 + _HEIGHT * 0.35 - 7:.1f}q0 7 -7 7"
                style, d = "edge skip", start + down + end
            title = f"<title>{escape(nodes[s].title)} → {escape(node.title)}</title>"
            paths.append(f'<path class="{style}" d="{d}" marker-end="url(#arrow)">{title}</path>')
    return paths, max((lane for _, _, lane in taken), default=0.0)


def _free_lane(
    wanted: float, top: float, bottom: float, passed: Sequence[float], taken: Sequence[tuple[float, float, float]]
) -> float:
    """Return the first free position for a vertical line beside boxes and other lines."""
    lane = wanted
    while any(x - 6 < lane < x + _WIDTH + 6 for x in passed) or any(
        abs(lane - x) < _LANE * 0.8 and top < b and t < bottom for t, b, x in taken
    ):
        lane += _LANE
    return lane


def _frames(nodes: Sequence[Box], corners: Sequence[tuple[float, float]]) -> str:
    """Return a frame around the boxes of each cell, with the number of its repetitions."""
    members: dict[int, list[tuple[float, float]]] = {}
    for node, corner in zip(nodes, corners, strict=True):
        if node.cell is not None:
            members.setdefault(node.cell, []).append(corner)
    found = []
    for first, inside in members.items():
        left, top = min(x for x, _ in inside) - _MARGIN, min(y for _, y in inside) - _MARGIN
        right, bottom = (max(x for x, _ in inside) + _WIDTH + _MARGIN, max(y for _, y in inside) + _HEIGHT + _MARGIN)
        size, times = f'width="{right - left:.1f}" height="{bottom - top:.1f}"', nodes[first].times
        said, shown = "block", ""
        if times > 1:
            said, shown = f"repeated {times} times, each reads the one before", f"× {times}"
        found.append(
            f'<g class="cell"><title>{said}</title>'
            f'<rect x="{left:.1f}" y="{top:.1f}" {size} rx="9"/>'
            f'<text x="{right - 6:.1f}" y="{top - 2:.1f}" text-anchor="end">{shown}</text></g>'
        )
    return "".join(found)


def _straight(x1: float, y1: float, x2: float, y2: float) -> str:
    """Return a path straight down, with a bend in the gap above its end."""
    if abs(x1 - x2) < 1:
        return f"M{x1:.1f} {y1:.1f}V{y2 - 3:.1f}"
    top = y2 - _GAP
    low, high = y2 - _GAP * 0.3, top + _GAP * 0.3
    return f"M{x1:.1f} {y1:.1f}V{top:.1f}C{x1:.1f} {low:.1f} {x2:.1f} {high:.1f} {x2:.1f} {y2 - 3:.1f}"


_ARROW = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="5" refY="4" markerWidth="7" markerHeight="7" '
    'markerUnits="userSpaceOnUse" orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>'
)


def _box(node: Box, corner: tuple[float, float], total: int) -> str:
    x, y = corner
    shape = escape("×".join(str(n) for n in node.shape))
    share = (node.parameters or 0) / total if total else 0.0
    weights = f"{quantity(node.parameters)} parameters" if node.parameters else ""
    flops = f"{quantity(node.flops_forward)} FLOPs" if node.flops_forward else ""
    bar = (
        f'<rect class="share" x="{x + 6:.1f}" y="{y + _HEIGHT - 3:.1f}" width="{(_WIDTH - 9) * share:.1f}" height="3"/>'
    )
    join = ""
    if node.join:
        at = f'x="{x + _WIDTH / 2 - 9:.1f}" y="{y - 6:.1f}"'
        join = f'<text class="join" {at} text-anchor="end">{escape(node.join)}</text>'
    left, right = f'x="{x + 12:.1f}"', f'x="{x + _WIDTH - 8:.1f}"'
    return (
        f'<g class="box {node.family}"><title>{escape(_tip(node, share))}</title>'
        f'<rect class="body" x="{x:.1f}" y="{y:.1f}" width="{_WIDTH:.0f}" height="{_HEIGHT:.0f}" rx="6"/>'
        f'<rect class="mark" x="{x:.1f}" y="{y + 5:.1f}" width="4" height="{_HEIGHT - 10:.0f}" rx="2"/>'
        f"{bar if share >= 0.02 else ''}"
        f'<text class="name" {left} y="{y + 16:.1f}">{escape(node.title)}</text>'
        f'<text class="shape" {right} y="{y + 16:.1f}" text-anchor="end">{shape}</text>'
        f'<text class="detail" {left} y="{y + 31:.1f}">{escape(_fitting(node.detail))}</text>'
        f'<text class="detail" {left} y="{y + 46:.1f}">{weights}</text>'
        f'<text class="detail" {right} y="{y + 46:.1f}" text-anchor="end">{flops}</text></g>{join}'
    )


def _fitting(detail: str) -> str:
    """Return the settings of a layer, cut to the width of a box."""
    room = _WIDTH - 20
    if text_width(detail) * 0.92 <= room:
        return detail
    return detail[: max(1, int(room / text_width("x") / 0.92) - 1)].rstrip(" ·") + "…"


def _tip(node: Box, share: float) -> str:
    """Return what the tooltip of a box says."""
    lines = [f"{node.title} {node.detail}".strip()]
    if node.shape:
        lines.append(f"output {'×'.join(map(str, node.shape))}")
    if node.times > 1:
        lines.append(f"repeated {node.times} times")
    if node.parameters:
        lines.append(f"{node.parameters:,} parameters ({share:.0%})")
    if node.costs:
        names = {"forward": "flops_forward", "by weights": "flops_weights", "by inputs": "flops_inputs"}
        given = ((name, sum(getattr(cost, field) for cost in node.costs)) for name, field in names.items())
        lines.append("FLOPs of a sample: " + ", ".join(f"{quantity(flops)} {name}" for name, flops in given))
    return "\n".join(lines)
