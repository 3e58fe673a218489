"""Garbage: what is there by now is passed over, what comes later is not."""

from __future__ import annotations

import gc
import weakref

from menndl_dask.garbage import settled


class Ring:
    """An object that refers to itself, which only the collector can free."""

    def __init__(self) -> None:
        self.me = self


def freed(ring: weakref.ref[Ring]) -> bool:
    gc.collect()
    return ring() is None


def test_what_is_there_is_passed_over_until_it_ends_and_what_comes_later_is_not() -> None:
    old = Ring()
    watched = weakref.ref(old)
    with settled():
        del old
        assert not freed(watched)
        later = weakref.ref(Ring())
        assert freed(later)
    assert freed(watched)


def test_garbage_from_before_is_freed_first() -> None:
    watched = weakref.ref(Ring())
    with settled():
        assert watched() is None


def test_what_others_have_settled_stays_so() -> None:
    with settled():
        with settled():
            pass
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() == 0
