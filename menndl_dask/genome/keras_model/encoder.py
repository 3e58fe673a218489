"""Encoding: from a Keras model back to a genome. Runs on a worker, in the trainer process, or wherever Keras is.

The layers of a model become genes one by one, and the canonical form merges weights, normalisation and activation.
What the problem determines (inputs, their normalisation, the head) is left out, and said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import keras
import numpy as np

from menndl_dask.errors import GenomeError, InfeasibleError
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.axes import with_axes_last, with_channels_last
from menndl_dask.genome.keras_model.gates import gates_of
from menndl_dask.genome.keras_model.head import Head, head_of
from menndl_dask.genome.keras_model.network_graph import Graph, Step, graph_of
from menndl_dask.genome.keras_model.operations import rescaling
from menndl_dask.genome.keras_model.weights import Weights
from menndl_dask.genome.layer import JOINS, Layer, Shape
from menndl_dask.genome.layers import KINDS, Activation
from menndl_dask.genome.layers.common.keras_settings import (
    check_settings,
    expect,
    is_exactly,
    is_of,
    losses,
    unsupported,
    without_gene,
)
from menndl_dask.genome.shape import common_size, walk
from menndl_dask.genome.topology import Sources

_JOINS = {
    "Add": "add",
    "Concatenate": "concatenate",
    "Multiply": "multiply",
    "Average": "average",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Subtract": "subtract",
}
_AUGMENTING = re.compile(r"Random(?!Crop$)\w+|AutoContrast|AugMix|RandAugment|MixUp|CutMix")
_OF_A_GENE = re.compile(r"layer\d+")  # names that `decode` gives
_ANSWERS = ("softmax", "linear")  # of heads that decode makes


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A Keras model as a genome, and what a genome has no place for.

    Parameters
    ----------
    genome
        In canonical form.
    notes
        What was left out or is another layer now, one line each.
    scales
        For each input the numbers, one for each channel or one for all, with which the model's own first layers
        multiply the image, and those that they add then. They were left out, as the problem normalises images.
    weights
        The weights of the model; None unless asked for.
    """

    genome: Genome
    notes: tuple[str, ...]
    scales: tuple[tuple[Any, Any], ...]
    weights: Weights | None = None


@overload
def encode(model: keras.Model, *, weights: Literal[False] = False) -> Genome: ...
@overload
def encode(model: keras.Model, *, weights: Literal[True]) -> tuple[Genome, Weights]: ...


def encode(model: keras.Model, *, weights: bool = False) -> Genome | tuple[Genome, Weights]:
    """Read the build instructions of a Keras model.

    Parameters
    ----------
    model
        A functional or sequential model of layers for which there are genes. Its head, the last fully connected layer
        or convolution of single pixels, is not encoded: the problem determines it.
    weights
        Whether to return the model's weights, too. `decode` gives the same model again with them.

    Returns
    -------
    Genome
        In canonical form; for a model that `decode` built, the genome that it was built from.
    Weights
        Only if asked for.

    Raises
    ------
    GenomeError
        If a layer, or one of its settings, has no gene; the message names the layer. Or if this is no Keras model.
    """
    encoded = read_network(model, weights=weights)
    return encoded.genome if encoded.weights is None else (encoded.genome, encoded.weights)


def read_network(model: keras.Model, *, weights: bool = False) -> Encoded:
    """Read a Keras model like `encode`, and say what was left out; see `Encoded`.

    Raises
    ------
    GenomeError
        If a layer, or one of its settings, has no gene; the message names the layer.
    """
    graph = with_axes_last(with_channels_last(graph_of(model)))
    head = head_of(graph)
    reading = _Reading(graph, head)
    genome, origins, orders = reading.genome.traced()
    _say_more(graph, head)
    scales = tuple(reading.scales)
    if not weights:
        return Encoded(genome, tuple(graph.notes), scales)
    arrays = [[array for i in origin for step in reading.steps[i] for array in _arrays(step)] for origin in origins]
    end = Weights(tuple(map(tuple, arrays)), tuple(orders), head.weights(), head.function)
    return Encoded(genome, tuple(graph.notes), scales, end)


def _arrays(step: Step) -> list[np.ndarray]:
    """Return the weights of a layer; an activation that is a layer in another one has its own after the other's."""
    if not isinstance(step.owner, keras.Layer):
        return []
    if step.own is not None:
        weights = [weight for part in step.parts for weight in getattr(part, "weights", ())]
    else:
        weights = step.owner.weights[: len(step.layer.weights)]
    return [np.array(weight.numpy()) for weight in weights]


def _say_more(graph: Graph, head: Head) -> None:
    """Note what of training a genome has no place for, and an answer that is another function than a problem's."""
    layers = {id(step.owner): step.owner for step in graph.steps if isinstance(step.owner, keras.Layer)}.values()
    left: dict[str, list[str]] = {}
    for layer in layers:
        for what in losses(layer):
            left.setdefault(what, []).append(layer.name)
    for what, names in left.items():
        graph.notes.append(f"{what} of {_some(names)}: left out, the problem determines the training")
    answer, image = graph.shape(graph.output)[:-1], graph.inputs[0][:-1]
    if set(answer) - {1} and answer != image:
        graph.notes.append(f"the model's answer has {answer} pixels; that of a network has those of the image")
    if head.function not in _ANSWERS:
        graph.notes.append(f"the model's answer goes through {head.function!r}; that of a network is for its problem")


def _some(names: Sequence[str]) -> str:
    return f"layer {names[0]!r}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


class _Reading:
    """The genes of the steps of a model.

    `steps` are for each layer of the genome the Keras layers that it was read from.
    """

    def __init__(self, graph: Graph, head: Head) -> None:
        self.graph = graph
        self.layers: list[Layer] = []
        self.sources: list[Sources] = []
        self.steps: list[tuple[Step, ...]] = []
        self.scales: list[tuple[Any, Any]] = [(1.0, 0.0) for _ in graph.inputs]
        self.found: dict[int, int] = {-1 - v: -1 - v for v in range(len(graph.inputs))}
        self.gates = gates_of(graph)
        self.reads = [self._reads(i) for i in range(len(graph.steps))]
        needed = _needed(self.reads, head.below)
        self._leave_out_preprocessing(needed)
        for i in needed:
            if i not in self.found:
                self.found[i] = self._add(i)
        tip = self.found[head.below]
        if tip != len(self.layers) - 1:  # the head reads a view, or what other layers read as well
            tip = self._gene(Activation("linear"), (tip,))
        self.genome = Genome.connect(self.layers, self.sources)
        self._check_shapes()

    def _gene(self, gene: Layer, sources: Sources, *steps: Step) -> int:
        self.layers.append(gene)
        self.sources.append(sources)
        self.steps.append(steps)
        return len(self.layers) - 1

    def _leave_out_preprocessing(self, needed: Sequence[int]) -> None:
        """Leave out what scales or changes images before any other layer, where it is all that reads them."""
        for v in range(len(self.graph.inputs)):
            tip, left = -1 - v, []
            scale: Any = 1.0
            offset: Any = 0.0
            while len(readers := [i for i in needed if tip in self.reads[i]]) == 1:
                step = self.graph.steps[readers[0]]
                found = _scaling(step)
                if found is None:
                    break
                scale, offset = scale * found[0], offset * found[0] + found[1]
                left.append(readers[0])
                tip = readers[0]
            for i in left:
                self.found[i] = -1 - v
                step = self.graph.steps[i]
                if not re.fullmatch(r"(normalisation|range|clip|unit)_\w+", step.owner.name):  # those of decode
                    augments = _AUGMENTING.fullmatch(type(step.owner).__name__)
                    own = "the training augments" if augments else "the problem normalises"
                    self.graph.note(step.owner, f"left out: {own} images")
            self.scales[v] = (scale, offset)

    def _reads(self, i: int) -> Sources:
        """Return what the gene of a step reads."""
        if i in self.gates:
            return (self.gates[i][1],)
        step = self.graph.steps[i]
        return step.sources if _join_of(step) is None else self._without_croppings(step)

    def _add(self, i: int) -> int:
        step, layer = self.graph.steps[i], self.graph.steps[i].layer
        if i in self.gates:
            gate, source, steps = self.gates[i]
            return self._gene(gate, (self.found[source],), *steps)
        join = _join_of(step)
        if join is not None:
            return self._join(step, join, tuple(self.found[s] for s in self.reads[i]))
        if len(step.sources) != 1:
            raise unsupported(step.owner, "there is no gene for a layer that reads several tensors in this way")
        if is_exactly(layer, "Normalization") and (scaling := _scaling(step)) is not None:
            step = self.graph.steps[self.graph.add(rescaling(*scaling), step.sources, layer)]
        gene = gene_of(step)
        source = self.found[step.sources[0]]
        if gene.is_identity and len(gene.inputs) == 1:
            return source
        return self._gene(gene, (source,), step)

    def _join(self, step: Step, join: str, sources: Sources) -> int:
        """Add the genes of a layer that joins tensors."""
        if join == "concatenate":
            expect(step.layer, "axis", step.layer.axis in (-1, len(step.shape)))
        if len(sources) == 1:
            return sources[0]
        if len(set(sources)) == len(sources):
            return self._gene(Activation("linear", join=join), sources)
        return self._of_repeated(step, join, sources)

    def _of_repeated(self, step: Step, join: str, sources: Sources) -> int:
        """Add the genes of a layer that reads a tensor several times, which no gene does."""
        once = tuple(dict.fromkeys(sources))
        if join in ("maximum", "minimum") or (join == "average" and len(once) == 1):
            return once[0] if len(once) == 1 else self._gene(Activation("linear", join=join), once)
        if join not in ("add", "multiply"):
            raise unsupported(step.owner, "it reads the same layer twice")
        read, negative = list(once), False
        for source in once:
            times = sources.count(source)
            if join == "add" and times > 1:
                read[read.index(source)] = self._scaled(step, source, float(times))
            elif times == 2:  # with the other sign it is another tensor
                read.append(self._scaled(step, source, -1.0))
                negative = not negative
            elif times > 2:
                raise unsupported(step.owner, "it reads the same layer more than twice")
        made = read[0] if len(read) == 1 else self._gene(Activation("linear", join=join), tuple(read))
        return self._scaled(step, made, -1.0) if negative else made

    def _scaled(self, step: Step, source: int, factor: float) -> int:
        made = self.graph.steps[self.graph.add(rescaling(factor, 0.0), [step.sources[0]], step.owner)]
        return self._gene(gene_of(made), (source,))

    def _without_croppings(self, step: Step) -> Sources:
        """Return what a join reads before it is cropped, where the genes' join crops by itself."""
        before = list(step.sources)
        for place, source in enumerate(step.sources):
            made = self.graph.steps[source] if source >= 0 else None
            if made is not None and is_of(made.layer, "Cropping") and not _OF_A_GENE.match(made.owner.name):
                before[place] = made.sources[0]
        shapes = [self.graph.shape(s) for s in before]
        if before == list(step.sources) or any(None in shape for shape in shapes):
            return step.sources
        size = common_size([tuple(int(n or 0) for n in shape) for shape in shapes], _join_of(step) or JOINS[0])
        steps = [self.graph.steps[s] for s, b in zip(step.sources, before, strict=True) if s != b]
        ends = all(first == 0 for each in steps for first, _ in np.reshape(each.layer.cropping, (-1, 2)))
        return tuple(before) if size == step.shape[:-1] and ends else step.sources

    def _check_shapes(self) -> None:
        """Check that each layer has the shape that it has in Keras."""
        if any(None in shape for shape in self.graph.inputs):
            return
        views = [tuple(int(n or 0) for n in shape) for shape in self.graph.inputs]
        done = 0
        try:
            for steps, (_, _, _, after) in zip(self.steps, walk(self.genome, views), strict=True):
                done += 1
                if len(steps) == 1 and not _fits(after, steps[0].shape):
                    expected = f"expected the shape {steps[0].shape}"
                    raise unsupported(steps[0].owner, f"{expected}, got {after} from its gene")
        except InfeasibleError as error:
            why = f"the genes of the model do not fit together: {error}"
            raise unsupported(self.steps[done][0].owner, why) if self.steps[done] else GenomeError(why) from error


def _fits(shape: Shape, known: tuple[int | None, ...]) -> bool:
    """Tell whether a shape agrees with one that may have open sizes."""
    return len(shape) == len(known) and all(m in (None, n) for n, m in zip(shape, known, strict=True))


def _needed(reads: Sequence[Sources], output: int) -> list[int]:
    """Return the steps on which an output depends, in order."""
    needed, stack = set[int](), [output]
    while stack:
        node = stack.pop()
        if node >= 0 and node not in needed:
            needed.add(node)
            stack.extend(reads[node])
    return sorted(needed)


def _join_of(step: Step) -> str | None:
    """Return how a layer joins tensors; None if it does something else."""
    return next((join for name, join in _JOINS.items() if is_exactly(step.layer, name)), None)


def _scaling(step: Step) -> tuple[Any, Any] | None:
    """Return by what a layer multiplies an image and what it adds; None if it is no preprocessing."""
    layer = step.layer
    if len(step.sources) != 1 or _OF_A_GENE.match(step.owner.name):
        return None
    if is_exactly(layer, "Rescaling"):
        return np.asarray(layer.scale), np.asarray(layer.offset)
    if is_exactly(layer, "Normalization"):
        if not (hasattr(layer, "mean") and hasattr(layer, "variance")):
            raise unsupported(layer, "expected a mean and a variance; call its method adapt first")
        mean, variance = (np.asarray(each) for each in (layer.mean, layer.variance))
        sigma = np.maximum(np.sqrt(variance), keras.backend.epsilon())
        mean, sigma = (each.reshape(-1) if each.size == step.shape[-1] else each for each in (mean, sigma))
        factor = -1.0 if layer.invert else 1.0
        return (sigma, mean) if factor < 0 else (1 / sigma, -mean / sigma)
    if is_exactly(layer, "ReLU") and layer.name.startswith("clip_") and layer.max_value == 1:
        return 1.0, 0.0  # of decode, where the problem clips images
    if _AUGMENTING.fullmatch(type(layer).__name__) and step.shape == step.shapes[0]:
        return 1.0, 0.0
    return None


def gene_of(step: Step) -> Layer:
    """Return the gene of a Keras layer.

    Raises
    ------
    GenomeError
        If there is none; the message names the layer and, if one is in the way, its setting.
    """
    if step.own is not None:  # a user's kind may read a setting that ours do not know
        return step.own
    try:
        for kind in KINDS:
            if (gene := kind.read(step.layer)) is not None:
                check_settings(gene, step.layer)
                return gene
    except GenomeError as error:  # a value that its gene refuses
        raise error if str(error).startswith("layer ") else unsupported(step.owner, str(error)) from error
    raise without_gene(step.owner)
