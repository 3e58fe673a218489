"""Alignment: counterparts have the same form, stand in the same order, and are as many as can be."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.alignment import Form, aligned, weights_in

NARROW: Form = ("Conv2D", ((3, 3, 8, 8), (8,)))
WIDE: Form = ("Conv2D", ((5, 5, 8, 8), (8,)))
NORM: Form = ("BatchNormalization", ((8,),) * 4)
HEAD: Form = ("Dense", ((8, 10), (10,)))
networks = st.lists(st.sampled_from([NARROW, WIDE, NORM, HEAD]), max_size=6)


def most(child: list[Form], parent: list[Form]) -> tuple[int, int]:
    """Return how many counterparts there can be and how many weights they hold, by trying everything."""
    tried = (part for size in range(len(child) + 1) for part in combinations(child, size))
    common = [part for part in tried if any(part == other for other in combinations(parent, len(part)))]
    return max((len(part), sum(map(weights_in, part))) for part in common)


def test_a_network_is_its_own_counterpart() -> None:
    network = [NARROW, NORM, NARROW, HEAD]
    assert aligned(network, network) == (0, 1, 2, 3)


def test_a_layer_that_was_inserted_removed_or_replaced_moves_the_others() -> None:
    assert aligned([NARROW, WIDE, NORM, HEAD], [NARROW, NORM, HEAD]) == (0, None, 1, 2)
    assert aligned([NARROW, HEAD], [NARROW, NORM, HEAD]) == (0, 2)
    assert aligned([WIDE, NORM, HEAD], [NARROW, NORM, HEAD]) == (None, 1, 2)


def test_layers_in_another_order_are_no_counterparts_of_each_other() -> None:
    assert aligned([NORM, WIDE], [WIDE, NORM]) == (None, 0)  # the one with more weights


def test_nothing_is_the_counterpart_of_nothing() -> None:
    assert aligned([], [NARROW]) == ()
    assert aligned([NARROW], []) == (None,)


@given(child=networks, parent=networks)
def test_counterparts_are_as_many_as_can_be_in_order_and_of_the_same_form(
    child: list[Form], parent: list[Form]
) -> None:
    places = aligned(child, parent)
    found = [(i, place) for i, place in enumerate(places) if place is not None]
    assert len(places) == len(child)
    assert all(child[i] == parent[place] for i, place in found)
    assert [place for _, place in found] == sorted({place for _, place in found})
    assert (len(found), sum(weights_in(child[i]) for i, _ in found)) == most(child, parent)
