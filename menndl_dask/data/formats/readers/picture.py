"""Single pictures (PNG, JPEG, …) and NumPy arrays (``.npy``). Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from menndl_dask.data.formats.content import Content, SourceArray
from menndl_dask.data.formats.library import guarded, mapped, reading


@contextmanager
def open_npy(path: Path) -> Iterator[Content]:
    """Open one array as a memory map."""
    with reading(path, ".npy"):
        values = mapped(np.load(path, mmap_mode="r", allow_pickle=False), path)
    yield Content(guarded({"image": SourceArray(values)}, path, ".npy"), images=("image",))


@contextmanager
def open_picture(path: Path) -> Iterator[Content]:
    """Open one picture as (y, x) or (y, x, channel); black and white is 0 and 255.

    Palettes are read as colours in images. In labels, the place of a colour in the palette is the class number.
    """
    with reading(path, "a picture"):
        from PIL import Image

        with _any_size(Image), Image.open(path) as picture:
            mode = {"P": "RGB", "1": "L"}.get(picture.mode)
            values = np.asarray(picture.convert(mode) if mode else picture)
            stored = np.asarray(picture) if picture.mode == "P" else None
    dims = ("y", "x", "channel")[: values.ndim]
    yield Content({"image": SourceArray(values, dims, stored=stored)}, images=("image",))


@contextmanager
def _any_size(module: Any) -> Iterator[None]:
    """Let Pillow open pictures of any size: sections and scans have hundreds of millions of pixels."""
    limit = module.MAX_IMAGE_PIXELS
    module.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        module.MAX_IMAGE_PIXELS = limit
