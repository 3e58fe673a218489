"""The vocabulary: Keras is asked only for names in its tables that are not ours, and decides only if it answers."""

from __future__ import annotations

import sys

import pytest

from menndl_dask.data import keras_names
from menndl_dask.data.keras_names import check_name
from menndl_dask.errors import UserError


def test_a_name_of_keras_is_accepted() -> None:
    check_name("metric", "mae", ["accuracy"])


def test_an_unknown_name_is_refused_with_the_nearest_without_importing_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", None)
    with pytest.raises(UserError, match=r"loss: expected ours, a name of Keras or .*, got 'dise'; did you mean 'dice'"):
        check_name("loss", "dise", ["ours"])


def test_names_that_are_ours_or_the_users_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", None)
    check_name("metric", "accuracy", ["accuracy"])
    check_name("metric", "my_module:score", ["accuracy"])


def test_where_keras_does_not_answer_the_name_is_left_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    check_name("metric", "auc", ["accuracy"])


def test_without_the_tables_of_keras_it_is_asked_for_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(keras_names, "find_spec", lambda name: None)
    monkeypatch.setattr(keras_names, "_ask", lambda command, backend: asked.append(command[-1]))
    check_name("metric", "acuracy", ["accuracy"])
    assert asked == ["acuracy"]
