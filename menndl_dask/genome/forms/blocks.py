"""Blocks: parts of a deep network that are alike but for their settings, such as the first blocks of stages. Pure.

Parts are alike if they have the same kinds of layers with the same connections. A block either has branches that meet
in a sum or a concatenation, or is a chain of layers; a gate, whose branches meet in a product, is a link of a chain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from menndl_dask.genome.forms.listing import Listing
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import Activation

Span = tuple[int, int]  # the first place of a part in a listing, and the one after its last
_LEAST, _MOST = 3, 50  # layers of a block
_LONGEST_CHAIN = 16  # steps of a block that is a chain


class Blocks:
    """Finds blocks in a listing.

    Parameters
    ----------
    listing
        Of the network.
    layers
        The layers in the order of the listing.
    added
        For each place whether its layer only joins what the next one reads.
    kinds
        For each place a number for what is between its dominator and it, the same for parts that are alike.
    """

    def __init__(self, listing: Listing, layers: Sequence[Layer], added: Sequence[bool], kinds: Sequence[int]) -> None:
        self._listing, self._layers, self._added, self._kinds = listing, layers, added, kinds
        self._paths = list(listing.paths())

    def branched(self) -> list[Span]:
        """Return parts with branches that are like another one, the largest first."""
        found: dict[tuple[int, ...], list[Span]] = defaultdict(list)
        for path in self._paths:
            for place, following in zip(path, [*path[1:], None], strict=True):
                start, stop = self._listing.begins[place], place + 1
                if start == place or self._layers[place].join == "multiply":
                    continue
                if self._added[place] and following == stop and isinstance(self._layers[stop], Activation):
                    stop += 1  # the rectifier of a sum
                if self._is_block(start, stop):
                    found[tuple(self._kinds[place:stop])].append((start, stop))
        alike = [span for spans in found.values() if len(spans) > 1 for span in spans]
        return sorted(alike, key=lambda span: (span[0] - span[1], span[0]))

    def chains(self, taken: bytearray) -> list[Span]:
        """Return parts of chains that are like another one, those that save most, and mark their places as taken."""
        found: dict[tuple[int, ...], list[Span]] = defaultdict(list)
        for links in self._links(taken):
            for i, first in enumerate(links):
                for j in range(i, min(i + _LONGEST_CHAIN, len(links))):
                    key = tuple(self._kinds[place] for place in links[i : j + 1])
                    found[key].append((self._listing.begins[first], links[j] + 1))
        alike = [(len(spans) * (spans[0][1] - spans[0][0] - 1), spans) for key, spans in found.items() if _is_one(key)]
        chosen: list[Span] = []
        for _, spans in sorted(alike, key=lambda each: (-each[0], each[1])):
            free: list[Span] = []
            for start, stop in spans:
                apart = not free or free[-1][1] <= start
                if apart and not any(taken[start:stop]) and self._is_block(start, stop):
                    free.append((start, stop))
            for start, stop in free if len(free) > 1 else ():
                taken[start:stop] = b"\1" * (stop - start)
                chosen.append((start, stop))
        return chosen

    def _is_block(self, start: int, stop: int) -> bool:
        """Tell whether places can be a gene, and are as many as a block has."""
        sized = stop - start - sum(self._added[start : stop - 1]) >= _LEAST and stop - start <= _MOST
        return sized and self._listing.is_closed(start, stop - 1, self._listing.dominator[start])

    def _links(self, taken: bytearray) -> list[list[int]]:
        """Return sequences of steps that follow each other, are not taken, and have no branches but those of a gate."""
        found: list[list[int]] = []
        for path in self._paths:
            links: list[int] = []
            for place in path:
                start = self._listing.begins[place]
                fits = (start == place or self._layers[place].join == "multiply") and not any(taken[start : place + 1])
                if not fits or not links or start != links[-1] + 1:
                    found.append(links := [])
                if fits:
                    links.append(place)
        return found


def _is_one(key: tuple[int, ...]) -> bool:
    """Tell whether a sequence is not a shorter one several times."""
    return not any(len(key) % n == 0 and key[:n] * (len(key) // n) == key for n in range(1, len(key) // 2 + 1))
