"""Folding: finds layers that are repeated in a network, and writes them as cells. Pure.

A part of a network can be repeated if all that it reads from outside is one tensor, and only its last layer is read
outside. Along the dominators of a network such parts are sequences of steps. So repetitions of steps are looked for,
and those that save most genes become cells. In a deep network blocks that are alike but for their settings, see
`blocks`, become cells of one repetition.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from menndl_dask.genome.forms.blocks import Blocks
from menndl_dask.genome.forms.canonical_form import ordered_joins
from menndl_dask.genome.forms.cell import LONGEST_BODY, MOST_TIMES, Cell
from menndl_dask.genome.forms.dominators import DominatorTree
from menndl_dask.genome.forms.label import colour, colour_of_kind
from menndl_dask.genome.forms.listing import Listing, contents_of
from menndl_dask.genome.layer import JOINS, Layer, with_inputs
from menndl_dask.genome.layers import Activation
from menndl_dask.genome.topology import Sources, relative

_LEAST_SAVED = 2  # genes that a cell must save
_DEEP = 50  # layers; a network with more has blocks as genes, too


@dataclass(frozen=True, slots=True)
class _Graph:
    """Layers, what each reads, whether the order of that counts, and whether a layer was added to join it."""

    layers: list[Layer] = field(default_factory=list)
    sources: list[Sources] = field(default_factory=list)
    ordered: list[bool] = field(default_factory=list)
    added: list[bool] = field(default_factory=list)

    def add(self, layer: Layer, node: Sources, *, ordered: bool, added: bool) -> int:
        self.layers.append(layer)
        self.sources.append(node)
        self.ordered.append(ordered)
        self.added.append(added)
        return len(self.layers) - 1


@dataclass(frozen=True, slots=True)
class _Run:
    """Places of a listing that hold the same layers several times, one after the other."""

    start: int
    size: int
    times: int
    saved: int

    @property
    def stop(self) -> int:
        return self.start + self.size * self.times


def fold(layers: Sequence[Layer], sources: Sequence[Sources]) -> list[Layer] | None:
    """Return the layers of a network in canonical form, with cells for what is repeated; None if that saves too little.

    Parameters
    ----------
    layers
        The layers.
    sources
        For each the indices of what it reads, ``-1 - v`` for the view ``v``.
    """
    plain = [with_inputs(layer, (1,)) for layer in layers]
    if len(plain) - len(set(plain)) <= _LEAST_SAVED:
        return None
    found = _Folder(_split(plain, sources, ordered_joins(layers, sources)))
    runs = found.chosen(deep=len(plain) > _DEEP)
    return found.genes(runs) if runs else None


def _split(layers: Sequence[Layer], sources: Sequence[Sources], ordered: Sequence[bool]) -> _Graph:
    """Let only layers that do nothing else have several sources: what other layers join is joined before them."""
    graph = _Graph()
    places: list[int] = []
    joins: dict[tuple[Sources, str, bool], int] = {}
    for layer, node, matters in zip(layers, sources, ordered, strict=True):
        read = tuple(places[s] if s >= 0 else s for s in node)
        if len(read) == 1 or layer.is_identity:
            places.append(graph.add(layer, read, ordered=matters, added=False))
            continue
        key = read, layer.join, matters
        if key not in joins:
            joins[key] = graph.add(Activation("linear", join=layer.join), read, ordered=matters, added=True)
        alone = replace(layer, join=JOINS[0])
        places.append(graph.add(alone, (joins[key],), ordered=False, added=False))
    return graph


class _Folder:
    """Looks for runs in a graph whose last layer is its output."""

    def __init__(self, graph: _Graph) -> None:
        self._graph = graph
        colours = [colour(layer) for layer in graph.layers]
        self._listing = Listing.of(colours, graph.sources, len(colours) - 1, graph.ordered)
        self._layers = [graph.layers[i] for i in self._listing.order]
        self._sources = self._listing.sources
        self._added = [graph.added[i] for i in self._listing.order]

    def chosen(self, *, deep: bool) -> list[_Run]:
        """Return runs that do not overlap, in order, in a deep network also blocks; those that save most come first."""
        runs = sorted(self._candidates(), key=lambda run: (-run.saved, run.size, run.start))
        taken = bytearray(len(self._layers))
        if not deep:
            return sorted(_free(runs, taken), key=lambda run: run.start)
        kinds = [colour_of_kind(layer) for layer in self._graph.layers]
        tree = DominatorTree(self._graph.sources)
        contents, _ = contents_of(tree, kinds, self._graph.sources, self._graph.ordered)
        blocks = Blocks(self._listing, self._layers, self._added, [contents[i] for i in self._listing.order])
        branched = [_Run(start, stop - start, 1, 0) for start, stop in blocks.branched()]
        within = [run for run in runs if any(b.start <= run.start and run.stop <= b.stop for b in branched)]
        chosen = _free([run for run in runs if run not in within], taken) + _free(branched, taken)
        chosen += [_Run(start, stop - start, 1, 0) for start, stop in blocks.chains(taken)]
        return sorted(chosen + _free(within, taken), key=lambda run: run.start)

    def genes(self, runs: Sequence[_Run]) -> list[Layer]:
        """Return the layers with a cell for each run."""
        starts = {run.start: run for run in runs}
        layers: list[Layer] = []
        sources: list[Sources] = []
        places: dict[int, int] = {}  # of what can be read
        added = []
        place = 0
        while place < len(self._layers):
            run = starts.get(place)
            last = place if run is None else run.stop - 1
            layer, read = self._layers[place], self._sources[place]
            if run is not None:
                layer, read = Cell(body=self._body(run), times=run.times), (self._entry(run),)
            layers.append(layer)
            sources.append(tuple(places[s] if s >= 0 else s for s in read))
            added.append(run is None and self._added[place])
            places[last] = len(layers) - 1
            place = last + 1
        return _joined(layers, sources, added)

    def _candidates(self) -> Iterator[_Run]:
        for path in self._listing.paths():
            contents = [self._listing.content[i] for i in path]
            for start, stop, period in _repetitions(contents):
                yield from self._best(path, start, stop, period)

    def _best(self, path: Sequence[int], start: int, stop: int, period: int) -> list[_Run]:
        """Return the runs of as many steps that save most, whichever step comes first."""
        best: list[_Run] = []
        for first in range(start, min(start + period, stop - 2 * period + 1)):
            runs = list(self._runs(path, first, stop, period))
            if sum(run.saved for run in runs) > sum(run.saved for run in best):
                best = runs
        return best

    def _runs(self, path: Sequence[int], start: int, stop: int, period: int) -> Iterator[_Run]:
        """Yield the runs of so many steps of a path that begin at one place or a multiple of the period later."""
        begin, times, size = 0, 0, 0
        for i in range(start, stop - period + 1, period):
            low, high = self._listing.begins[path[i]], path[i + period - 1]
            closed = 0 <= high - low < LONGEST_BODY and self._listing.is_closed(
                low, high, self._listing.dominator[path[i]]
            )
            follows = 0 < times < MOST_TIMES and low == begin + times * size and high - low + 1 == size
            if closed and follows and self._listing.reach[low - 1] <= high and self._same(begin, low, size):
                times += 1
                continue
            if times > 1 and (run := self._run(begin, size, times)).saved >= _LEAST_SAVED:
                yield run
            begin, size = low, high - low + 1
            times = int(closed)
        if times > 1 and (run := self._run(begin, size, times)).saved >= _LEAST_SAVED:
            yield run

    def _run(self, start: int, size: int, times: int) -> _Run:
        run = _Run(start, size, times, 0)
        # a layer can join on its own in one repetition, and be added for that in another
        before = size * times - sum(self._added[start : run.stop])
        return replace(run, saved=before - len(self._body(run)) - 1)

    def _same(self, first: int, second: int, size: int) -> bool:
        """Tell whether the same layers begin at two places."""
        return all(
            self._layers[first + i] == self._layers[second + i]
            and [max(-1, s - first) for s in self._sources[first + i]]
            == [max(-1, s - second) for s in self._sources[second + i]]
            for i in range(size)
        )

    def _entry(self, run: _Run) -> int:
        """Return what the first repetition reads."""
        return next(s for i in range(run.start, run.start + run.size) for s in self._sources[i] if s < run.start)

    def _body(self, run: _Run) -> tuple[Layer, ...]:
        """Return the layers of one repetition."""
        stop = run.start + run.size
        sources = [tuple(max(-1, s - run.start) for s in node) for node in self._sources[run.start : stop]]
        return tuple(_joined(self._layers[run.start : stop], sources, self._added[run.start : stop]))


def _free(runs: Sequence[_Run], taken: bytearray) -> list[_Run]:
    """Return those of runs, the best first, that overlap with none before them, and mark their places as taken."""
    found = []
    for run in runs:
        if not any(taken[run.start : run.stop]):
            taken[run.start : run.stop] = b"\1" * (run.stop - run.start)
            found.append(run)
    return found


def _joined(layers: Sequence[Layer], sources: Sequence[Sources], added: Sequence[bool]) -> list[Layer]:
    """Return layers of which each joins what it reads, instead of layers that were added for that."""
    kept_layers: list[Layer] = []
    kept: list[Sources] = []
    places: list[int] = []
    for i, (layer, node) in enumerate(zip(layers, sources, strict=True)):
        if added[i] and i < len(layers) - 1:
            places.append(-1)  # its readers look for its sources
            continue
        source = node[0]
        if source >= 0 and added[source] and source < len(layers) - 1:
            layer, node = replace(layer, join=layers[source].join), sources[source]
        kept_layers.append(layer)
        kept.append(tuple(places[s] if s >= 0 else s for s in node))
        places.append(len(kept) - 1)
    offsets = relative(kept)
    return [with_inputs(layer, node) for layer, node in zip(kept_layers, offsets, strict=True)]


def _repetitions(contents: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield where a sequence repeats itself: start, stop and period, each with the shortest period.

    >>> list(_repetitions([5, 1, 2, 1, 2, 1, 3, 3]))
    [(6, 8, 1), (1, 6, 2)]
    """
    found: dict[int, list[tuple[int, int]]] = {}
    for period in range(1, min(LONGEST_BODY, len(contents) // 2) + 1):
        here: list[tuple[int, int]] = []
        start = 0
        for i in range(len(contents) - period + 1):
            if i < len(contents) - period and contents[i] == contents[i + period]:
                continue
            if i - start >= period and not _within((start, i + period), period, found):
                here.append((start, i + period))
            start = i + 1
        found[period] = here
        yield from ((start, stop, period) for start, stop in here)


def _within(places: tuple[int, int], period: int, found: dict[int, list[tuple[int, int]]]) -> bool:
    """Tell whether places lie within ones that repeat themselves with a divisor of the period."""
    for divisor in range(1, period // 2 + 1):
        if period % divisor == 0 and (given := found[divisor]):
            at = bisect_right(given, (places[0], given[-1][1])) - 1
            if at >= 0 and given[at][0] <= places[0] and places[1] <= given[at][1]:
                return True
    return False
