"""The vocabulary: Keras is asked only for names that are not ours, and decides only where it answers."""

from __future__ import annotations

import sys

import pytest

from menndl_dask.data.keras_names import check_name
from menndl_dask.errors import UserError


def test_a_name_of_keras_is_accepted() -> None:
    check_name("metric", "mae", ["accuracy"])


def test_a_name_that_nobody_knows_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"loss: expected ours, a name of Keras or .*, got 'dise'; did you mean 'dice'"):
        check_name("loss", "dise", ["ours"])


def test_names_that_are_ours_or_the_users_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", None)
    check_name("metric", "accuracy", ["accuracy"])
    check_name("metric", "my_module:score", ["accuracy"])


def test_where_keras_does_not_answer_the_name_is_left_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    check_name("metric", "acuracy", ["accuracy"])
