"""Single pictures (PNG, JPEG, …) and NumPy arrays (``.npy``). Runs on the driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from menndl_dask.data.formats.content import Content, SourceArray
from menndl_dask.data.formats.library import guarded, mapped, reading
from menndl_dask.text import size

# of Pillow, which by itself looks at the content: a PostScript file of any name would be run by Ghostscript
LOSSY = (".jpg", ".jpeg")
"""Endings of pictures whose values compression has changed."""

PILLOW = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")


TURNED = "changed: pictures are turned as their EXIF orientation says"
"""Note on pictures that `upright` changes."""

_ORIENTATION = 0x0112  # a tag of EXIF; 1 is upright


def is_turned(picture: Any) -> bool:
    """Whether a JPEG says that it is to be shown turned or mirrored."""
    return picture.format == "JPEG" and picture.getexif().get(_ORIENTATION, 1) in range(2, 9)


def upright(picture: Any) -> Any:
    """Return a picture as it is seen: cameras store it as the sensor lies, and say how to turn it."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture) if is_turned(picture) else picture


def check_room(picture: Any) -> None:
    """Raise `ValueError` if a picture does not fit into memory: some kilobytes may hold billions of pixels."""
    needed = picture.width * picture.height * max(1, len(picture.getbands())) * 2  # as read and as converted
    if needed > (free := psutil.virtual_memory().available):
        raise ValueError(f"{picture.width} x {picture.height} pixels need {size(needed)}, {size(free)} are free")


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

        with _any_size(Image), Image.open(path, formats=PILLOW) as picture:
            check_room(picture)
            notes = [TURNED] if is_turned(picture) else []
            if (frames := getattr(picture, "n_frames", 1)) > 1:
                notes.append(f"left out: all but the first of {frames} frames")
            shown = upright(picture)
            mode = {"P": "RGB", "1": "L"}.get(shown.mode)
            values = np.asarray(shown.convert(mode) if mode else shown)
            stored = np.asarray(shown) if shown.mode == "P" else None
    dims = ("y", "x", "channel")[: values.ndim]
    attributes = {"lossy": True} if path.suffix.lower() in LOSSY else {}
    yield Content({"image": SourceArray(values, dims, attributes, stored)}, images=("image",), notes=tuple(notes))


@contextmanager
def _any_size(module: Any) -> Iterator[None]:
    """Let Pillow open pictures of any size: sections and scans have hundreds of millions of pixels."""
    limit = module.MAX_IMAGE_PIXELS
    module.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        module.MAX_IMAGE_PIXELS = limit
