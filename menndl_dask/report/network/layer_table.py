"""A network as a table: what each layer costs in both directions, in memory and in bytes moved. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from menndl_dask.genome.cost import LayerCost
from menndl_dask.problem import Problem
from menndl_dask.report.network_drawing import Box
from menndl_dask.report.page import html_table
from menndl_dask.text import MISSING, TextTable, counted, quantity, size

HEAD = (
    "layer", "settings", "output", "parameters", "FLOPs forward", "by weights", "by inputs", "memory", "FLOP/byte",
)  # fmt: skip


def layer_by_layer(nodes: Sequence[Box], problem: Problem | None) -> str:
    """Return the table of a network as HTML that opens on a click; empty if its costs are not known."""
    batch = problem.budget.batch_size if problem is not None else 1
    table = layer_table(nodes, batch)
    if table is None:
        return ""
    text = (
        "One sample; a multiplication and an addition are two FLOPs. By weights and by inputs: the two parts of the"
        " backward pass. Memory: values kept for it. FLOP/byte: of the forward pass of"
        f" {counted(batch, 'sample')}, for each byte that it must move."
    )
    shown = f'<div class="compact">{html_table(table)}</div>'
    return f"<details><summary>Layer by layer</summary><p>{escape(text)}</p>{shown}</details>"


def layer_table(nodes: Sequence[Box], batch_size: int) -> TextTable | None:
    """Return a row for each layer of a network, for repeated layers one for all repetitions, and the sum.

    FLOPs and memory (of the values that are kept for the backward pass) are those of one sample. The arithmetic
    intensity is that of the forward pass of a batch.

    Returns
    -------
    TextTable or None
        None if the costs are not known.
    """
    if not any(node.costs for node in nodes):
        return None
    rows = []
    for node in nodes:
        if node.costs:
            times = f"{node.times} × " if node.times > 1 else ""
            shape = "×".join(map(str, node.shape))
            rows.append([f"{times}{node.title}", node.detail, shape, *_figures(node.costs, batch_size)])
    costs = [cost for node in nodes for cost in node.costs]
    rows.append(["all", "", "", *_figures(costs, batch_size)])
    return TextTable(HEAD, rows, left=(0, 1))


def _figures(costs: Sequence[LayerCost], batch_size: int) -> list[str]:
    """Return parameters, FLOPs, memory and intensity of layers together."""
    flops = [sum(getattr(cost, name) for cost in costs) for name in ("flops_forward", "flops_weights", "flops_inputs")]
    moved = sum(cost.moved_bytes(batch_size) for cost in costs)
    parameters = sum(cost.parameters for cost in costs)
    return [
        quantity(parameters) if parameters else MISSING,
        *(quantity(each) if each else MISSING for each in flops),
        size(sum(cost.activation_bytes for cost in costs)),
        f"{batch_size * flops[0] / moved:.1f}",
    ]
