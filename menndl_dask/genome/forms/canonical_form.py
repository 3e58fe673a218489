"""Canonical form: removes from a network all that makes no difference to its output. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from heapq import heappop, heappush

from menndl_dask.genome.layer import ASSOCIATIVE, JOINS, Layer, with_inputs
from menndl_dask.genome.topology import Sources, live, order_matters

_GONE = -1


def simplify(
    layers: Sequence[Layer], sources: Sequence[Sources]
) -> tuple[list[Layer], list[Sources], int, list[tuple[int, ...]]]:
    """Return the layers that make a difference, the sources of each, the index of the output, and their origins.

    The output is negative (``-1 - v``) if no layer is left and the network returns the view ``v``. The origins of a
    layer are the indices of the given layers that it does the work of, in order.
    """
    graph = _Graph(layers, sources)
    graph.simplify()
    return graph.result()


def ordered_joins(layers: Sequence[Layer], sources: Sequence[Sources]) -> list[bool]:
    """Return for each layer whether the order of its sources makes a difference."""
    joins = [layer.join if len(node) > 1 else "" for layer, node in zip(layers, sources, strict=True)]
    by_value = [join not in ("", "concatenate") for join in joins]
    ordered = order_matters(sources, by_value, [layer.channel_role for layer in layers])
    return [each or join == "subtract" for each, join in zip(ordered, joins, strict=True)]


@lru_cache(maxsize=8192)
def _simplified(layer: Layer) -> Layer:
    """Return the layer by itself, without settings that make no difference."""
    return with_inputs(layer, (1,)).simplified()


class _Graph:
    """A network from which redundant layers are removed one by one, in constant time each.

    There are two rules. The first removes a layer that does nothing to its only source. Where it does not apply, the
    second lets a layer's readers do without it: they join what it joined, skip what they undo, or absorb it. Both begin
    with the first layer to which they apply. A removed layer is not replaced in all lists that name it:

    * `_heirs` says which layer reads what the removed one read, so that lists of readers stay as they are;
    * `_instead` says what is read instead of it, a layer or a sequence.
    """

    def __init__(self, layers: Sequence[Layer], sources: Sequence[Sources]) -> None:
        self.output = len(layers) - 1
        alive = live(sources, self.output)
        self._nodes = [i for i, a in enumerate(alive) if a]
        self._layers = list(layers)
        for i in self._nodes:
            self._layers[i] = _simplified(layers[i])
        self._order = [tuple(dict.fromkeys(node)) for node in sources]
        self._sources = [set(node) for node in self._order]
        self._origins = [[i] for i in range(len(layers))]
        self._readers: list[list[int]] = [[] for _ in layers]
        self._joining = [0] * len(layers)  # readers that have several sources
        self._count = [0] * len(layers)  # readers
        self._heirs: dict[int, int] = {}
        self._instead: dict[int, int | Sources] = {}
        for i in self._nodes:
            for s in self._order[i]:
                if s >= 0:
                    self._readers[s].append(i)
                    self._count[s] += 1
                    self._joining[s] += len(self._order[i]) > 1
            self._alone(i)
        self._first = [i for i in self._nodes if self._layers[i].is_identity]  # heaps of layers to look at
        self._second = list(self._nodes)
        self._end()

    def simplify(self) -> None:
        """Apply the rules until none applies."""
        while self._first or self._second:
            while self._first:
                i = heappop(self._first)
                if i not in self._instead and self._does_nothing(i):
                    self._remove(i)
            if self._second:
                i = heappop(self._second)
                if i not in self._instead and i != self.output:
                    self._do_without(i)

    def result(self) -> tuple[list[Layer], list[Sources], int, list[tuple[int, ...]]]:
        """Return what `simplify` returns."""
        kept = [i for i in self._nodes if i not in self._instead] if self.output >= 0 else []
        place = {old: new for new, old in enumerate(kept)}
        known: dict[int, Sources] = {}  # of sequences that several layers share
        sources = []
        for i in kept:
            node = self._order[i]
            if id(node) not in known:
                known[id(node)] = tuple(dict.fromkeys(self._flat(node)))
            sources.append(tuple(place[s] if s >= 0 else s for s in known[id(node)]))
        return [self._layers[i] for i in kept], sources, place.get(self.output, self.output), self._traced(kept)

    def _traced(self, kept: Sequence[int]) -> list[tuple[int, ...]]:
        return [tuple(self._origins[i]) for i in kept]

    def _flat(self, node: Sources) -> Iterator[int]:
        """Yield the sources that a sequence stands for."""
        stack = [iter(node)]
        while stack:
            for s in stack[-1]:
                instead = self._instead.get(s, s)
                while isinstance(instead, int) and instead in self._instead:
                    instead = self._instead[instead]
                if isinstance(instead, int):
                    yield instead
                else:
                    stack.append(iter(instead))
                    break
            else:
                stack.pop()

    def _readers_of(self, i: int) -> list[int]:
        """Return the layers that read a layer, each once."""
        found = [r for r in map(self._heir, self._readers[i]) if r != _GONE]
        self._readers[i] = found
        return found

    def _heir(self, i: int) -> int:
        path = []
        while (heir := self._heirs.get(i, i)) != i:
            path.append(i)
            i = heir
            if i == _GONE:
                break
        for each in path:
            self._heirs[each] = i
        return i

    def _look(self, i: int) -> None:
        """Look at a layer again."""
        if i >= 0:
            heappush(self._second, i)

    def _alone(self, i: int) -> None:
        """Set the join of a layer that joins nothing to one value."""
        if len(self._sources[i]) == 1 and self._layers[i].join != JOINS[0]:
            self._layers[i] = replace(self._layers[i], join=JOINS[0])

    def _end(self) -> None:
        """Simplify the output."""
        if self.output >= 0:
            layer = self._layers[self.output].at_end()
            if layer != self._layers[self.output]:
                self._change(self.output, layer)

    def _change(self, i: int, layer: Layer) -> None:
        """Put another layer in the place of one."""
        self._layers[i] = layer
        self._alone(i)
        heappush(self._first, i)
        self._look(i)
        if len(self._sources[i]) == 1:  # if there are more, they cannot be removed because of what this layer does
            self._look(next(iter(self._sources[i])))

    def _does_nothing(self, i: int) -> bool:
        if len(self._sources[i]) > 1 or not self._layers[i].is_identity:
            return False
        # a network that reads a further view and has no layers needs one to say so
        return i != self.output or next(iter(self._sources[i])) >= -1

    def _remove(self, i: int) -> None:
        """Let the readers of a layer read its only source."""
        (source,) = self._sources[i]
        for r in self._readers_of(i):
            node = self._sources[r]
            several = len(node) > 1
            node.remove(i)
            if source in node:
                if len(node) == 1:
                    if source >= 0:
                        self._joining[source] -= 1
                    self._alone(r)
                    heappush(self._first, r)
                    self._look(r)
            else:
                node.add(source)
                if source >= 0:
                    self._readers[source].append(r)
                    self._count[source] += 1
                    self._joining[source] += several
        self._instead[i] = source
        self._heirs[i] = _GONE
        if source >= 0:
            self._count[source] -= 1
            self._look(source)
        if i == self.output:
            self.output = source
            self._end()

    def _do_without(self, i: int) -> None:
        """Let the readers of a layer do without it, if they can."""
        layer = self._layers[i]
        readers = self._readers_of(i) if self._count[i] == 1 or not self._joining[i] else []
        if self._joining[i]:
            alike = layer.join in ASSOCIATIVE and readers and layer.join == self._layers[readers[0]].join
            if alike and layer.is_identity:
                self._splice(i, readers[0])
            return
        undone = 1 in (len(self._sources[i]), len(readers)) and all(
            layer.is_undone_by(self._layers[r]) for r in readers
        )
        if layer.is_identity or undone:
            self._pass_on(i, readers, [self._layers[r] for r in readers])
        elif len(readers) == 1 and (merged := layer.absorb(self._layers[readers[0]])) is not None:
            self._origins[i] += self._origins[readers[0]]
            self._origins[readers[0]] = self._origins[i]
            self._pass_on(i, readers, [merged])

    def _pass_on(self, i: int, readers: Sequence[int], layers: Sequence[Layer]) -> None:
        """Let the readers of a layer, which read it alone, read what it read, and become other layers."""
        node = self._sources[i]
        for r in readers:
            self._order[r] = self._order[i]
            self._sources[r] = node if r == readers[0] else set(node)
            for s in node if r != readers[0] else ():
                if s >= 0:
                    self._readers[s].append(r)
                    self._count[s] += 1
                    self._joining[s] += len(node) > 1
        self._heirs[i] = readers[0]
        self._instead[i] = self._order[i]
        for r, layer in zip(readers, layers, strict=True):
            self._change(r, replace(layer, join=self._layers[i].join).simplified())
            if r == self.output:
                self._end()

    def _splice(self, i: int, reader: int) -> None:
        """Put what a layer joins in its place, where its only reader joins alike: a sum of sums is one sum."""
        less, more = sorted((self._sources[i], self._sources[reader]), key=len)
        if any(s in more for s in less):
            return
        self._sources[reader] = more
        more |= less
        more.remove(i)
        self._heirs[i] = reader
        self._instead[i] = self._order[i]
