"""Archives of NumPy: arrays are the same whether they are small, mapped or unpacked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from menndl_dask.data.formats import npz
from menndl_dask.data.formats.npz import open_npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("large", [1, 2**20])
def test_parts_are_those_of_the_array(
    save: Callable[..., Any], large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz, "_LARGE", large)
    values = np.arange(60.0).reshape(3, 4, 5)
    save(tmp_path / "a.npz", image=values, turned=np.asfortranarray(values), names=["x", "yy"], one=np.float32(3))
    with open_npz(tmp_path / "a.npz") as content:
        arrays = {name: source.array for name, source in content.arrays.items()}
        np.testing.assert_array_equal(arrays["image"][1:3, :, 2], values[1:3, :, 2])
        np.testing.assert_array_equal(arrays["turned"][:2, 1:], values[:2, 1:])
        assert np.asarray(arrays["names"][:]).tolist() == ["x", "yy"]
        assert arrays["one"][()] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_python_objects_are_left_out_and_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=np.zeros((2, 3)), note=np.array([{"a": 1}], dtype=object))
    with open_npz(tmp_path / "a.npz") as content:
        assert list(content.arrays) == ["image"]
        assert content.notes == ("left out: note (Python objects)",)
