"""Linear algebra in one thread: as long as somebody is inside, and as before afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from menndl_dask.evolution import Evolution
from menndl_dask.surrogate import Floats, Kernel, Places
from menndl_dask.threads import one_thread
from tests.evaluations import SPACE
from tests.spaces import toy_result


def threads() -> set[int]:
    assert np.linalg  # a library that has threads is there
    return {library["num_threads"] for library in ThreadpoolController().info()}


def test_it_is_as_before_after_the_last_one_has_left() -> None:
    with threadpool_limits(limits=2):
        with one_thread():
            with one_thread():
                assert threads() == {1}
            assert threads() == {1}
        assert threads() == {2}


def test_an_error_inside_leaves_nothing_behind() -> None:
    with threadpool_limits(limits=2):
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), one_thread():
                raise ZeroDivisionError
            assert threads() == {2}
        with one_thread():
            assert threads() == {1}


def test_whatever_an_ask_compares_is_compared_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    evolution = Evolution(SPACE)
    between, during = Kernel.between, list[set[int]]()

    def watched(self: Kernel, first: Places, second: Places) -> Floats:
        during.append(threads())
        return between(self, first, second)

    monkeypatch.setattr(Kernel, "between", watched)
    with threadpool_limits(limits=2):
        for _ in range(30):
            individual = evolution.ask()
            evolution.prepare()
            evolution.tell(individual, toy_result(individual))
        assert threads() == {2}
    assert len(during) > 10
    assert all(each == {1} for each in during)
