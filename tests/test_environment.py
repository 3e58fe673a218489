"""The backend of Keras where TensorFlow is not installed."""

from __future__ import annotations

import os

import pytest

from menndl_dask import environment


@pytest.mark.parametrize(
    ("given", "installed", "chosen"),
    [
        (None, ("tensorflow", "jax", "torch"), None),
        (None, ("jax", "torch"), "jax"),
        (None, ("torch",), "torch"),
        (None, (), None),
        ("torch", ("jax", "torch"), "torch"),
    ],
)
def test_jax_or_pytorch_is_used_where_tensorflow_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, given: str | None, installed: tuple[str, ...], chosen: str | None
) -> None:
    monkeypatch.setattr(environment, "find_spec", lambda name: name if name in installed else None)
    monkeypatch.setattr(os, "environ", {} if given is None else {"KERAS_BACKEND": given})
    environment.choose_backend()
    assert os.environ.get("KERAS_BACKEND") == chosen
