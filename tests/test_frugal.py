"""What is spared when Keras is imported."""

from __future__ import annotations

import importlib
import sys

import pytest

from menndl_dask.frugal import without


def test_what_is_spared_can_be_imported_later_and_what_was_imported_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with without("this", "sys"):
        with pytest.raises(ImportError):
            importlib.import_module("this")
        assert importlib.import_module("sys") is sys
    assert "this" not in sys.modules
