"""A user's own gene kinds in a Keras model: which layers a gene of such a kind has built. Runs wherever Keras is.

A kind may build one Keras layer or several. Its method `read`, if it has one, gives the gene of the last of them.
Without it, all genes of the kind are tried. Either way a gene is compared with the model: what it builds must be there,
layer by layer with all settings, but for names and random seeds.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from itertools import count, product
from typing import Any

import keras
import numpy as np

from menndl_dask.errors import GenomeError
from menndl_dask.genome.domain import every_value
from menndl_dask.genome.gene import kinds_of_users
from menndl_dask.genome.layer import MOST_READ, Layer, Shape
from menndl_dask.genome.layers import KINDS

_MOST_LAYERS = 100  # of Keras, that a gene builds
_NO_DIFFERENCE = ("name", "seed", "dtype", "trainable")  # settings


def read_own(tensor: Any) -> tuple[Layer, Any] | None:
    """Return the gene of a user's kind that makes a Keras tensor, and the tensor that it reads; None if none does."""
    last = tensor._keras_history.operation
    for kind in kinds_of_users():
        if not issubclass(kind, Layer) or issubclass(kind, KINDS):
            continue
        if kind.has_read():
            gene = kind.read(last)
            genes = [] if gene is None else [gene]
        else:
            genes = _every_gene(kind)  # type: ignore[arg-type]  # a class can be hashed
        for gene in genes:
            if (entry := _entry(gene, tensor, is_read=kind.has_read())) is not None:
                return gene, entry
    return None


def is_alike(model: Any, other: Any) -> bool:
    """Return whether two Keras models of one output have the same layers with the same settings."""
    return _matching(model.outputs[0], other.outputs[0], other.inputs[0]) is not None


def made_between(tensor: Any, entry: Any) -> list[Any] | None:
    """Return the Keras layers that a tensor is computed with from another one; None if it depends on more."""
    layers: dict[int, Any] = {}
    stack, seen = [tensor], {id(entry)}
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        given = _inputs_of(current)
        layers[id(_layer_of(current))] = _layer_of(current)
        if not given or len(layers) > _MOST_LAYERS:
            return None
        stack.extend(given)
    return list(layers.values())


@cache
def _every_gene(kind: type[Layer]) -> list[Layer]:
    """Return all genes of a kind; none if they are too many to be tried."""
    domains = kind.domains()
    if math.prod(domain.size for domain in domains.values()) > MOST_READ:
        return []
    return [kind(**dict(zip(domains, values, strict=True))) for values in product(*map(every_value, domains.values()))]


def _entry(gene: Layer, tensor: Any, *, is_read: bool) -> Any | None:
    """Return the tensor from which a gene has made another one; None if there is none."""
    given = _inputs_of(tensor)
    if is_read and len(given) == 1 and _count(gene, given[0]) in (None, 1):
        return given[0]  # the kind's own method has looked at the layer
    after = tuple(tensor.shape[1:])
    for shape in _shapes_before(tensor):
        try:
            if tuple(gene.output_shape(shape)) != after:
                continue
        except GenomeError:
            continue
        found = _built(gene, shape)
        entry = None if found is None else _matching(tensor, *found)
        if entry is not None and tuple(entry.shape[1:]) == shape and _is_closed(tensor, entry):
            return entry
    return None


def _count(gene: Layer, entry: Any) -> int | None:
    """Return the number of Keras layers that a gene builds on a tensor; None if it cannot be known."""
    shape = tuple(entry.shape[1:])
    found = None if None in shape else _built(gene, shape)
    made = None if found is None else made_between(*found)
    return None if made is None else len(made)


def _shapes_before(tensor: Any) -> list[Shape]:
    """Return the shapes of the tensors that a tensor depends on, those of the nearest first."""
    shapes: dict[Shape, None] = {}
    seen: set[int] = set()
    near = _inputs_of(tensor)
    while near and len(seen) < _MOST_LAYERS:
        seen.update(map(id, near))
        shapes.update(dict.fromkeys(shape for each in near if None not in (shape := tuple(each.shape[1:]))))
        near = list({id(t): t for each in near for t in _inputs_of(each) if id(t) not in seen}.values())
    return list(shapes)


def _is_closed(tensor: Any, entry: Any) -> bool:
    """Return whether what is made between two tensors is read there only."""
    made = made_between(tensor, entry) or []
    inside, last = set(map(id, made)), _layer_of(tensor)
    inner = [node for layer in made if layer is not last for node in layer._outbound_nodes]
    return all(id(node.operation) in inside for node in inner)


@lru_cache(maxsize=1024)
def _built(gene: Layer, shape: Shape) -> tuple[Any, Any] | None:
    """Return what a gene builds on a tensor of a shape, and that tensor; None if it builds nothing there."""
    entry = keras.Input(shape)
    numbers = count(1)
    try:
        return gene.build(entry, "own", lambda: next(numbers)), entry
    except Exception:  # noqa: BLE001  # the user's code may raise anything on a tensor that it does not suit
        return None


def _matching(made: Any, example: Any, start: Any) -> Any | None:
    """Return the tensor from which another one is made as an example is from its start; None if it is made otherwise.

    Both are made by the same layers with the same settings.
    """
    stack, pairs = [(made, example)], dict[int, Any]()
    while stack:
        one, other = stack.pop()
        if id(other) in pairs:
            if pairs[id(other)] is not one:
                return None
            continue
        pairs[id(other)] = one
        if other is start:
            continue
        if not _is_same_step(one, other):
            return None
        stack.extend(zip(_inputs_of(one), _inputs_of(other), strict=True))
    return pairs.get(id(start))


def _is_same_step(one: Any, other: Any) -> bool:
    first, second = _layer_of(one), _layer_of(other)
    if type(first).__name__ != type(second).__name__ or len(_inputs_of(one)) != len(_inputs_of(other)):
        return False
    if one._keras_history.tensor_index != other._keras_history.tensor_index:
        return False
    if _settings(first.get_config()) != _settings(second.get_config()):
        return False
    values, others = (_constants(tensor) for tensor in (one, other))
    return len(values) == len(others) and all(map(_is_equal, values, others))


def _settings(value: Any) -> Any:
    """Return settings of a Keras layer without those that make no difference."""
    if isinstance(value, dict):
        return {key: _settings(each) for key, each in value.items() if key not in _NO_DIFFERENCE}
    return [_settings(each) for each in value] if isinstance(value, (list, tuple)) else value


def _constants(tensor: Any) -> list[Any]:
    """Return what a layer was called with beside tensors."""
    arguments = _node_of(tensor).arguments
    given = keras.tree.flatten([list(arguments.args), dict(arguments.kwargs)])
    return [value for value in given if not isinstance(value, keras.KerasTensor)]


def _is_equal(one: Any, other: Any) -> bool:
    if hasattr(one, "shape") or hasattr(other, "shape"):
        return bool(np.array_equal(np.asarray(one), np.asarray(other)))
    return bool(one == other)


def _layer_of(tensor: Any) -> Any:
    return tensor._keras_history.operation


def _node_of(tensor: Any) -> Any:
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def _inputs_of(tensor: Any) -> list[Any]:
    return list(_node_of(tensor).input_tensors)
