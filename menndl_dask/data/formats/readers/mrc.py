"""MRC and CCP4 images of electron microscopes, as memory maps. Runs on the driver.

Source: https://www.ccpem.ac.uk/mrc-format/mrc2014/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from menndl_dask.data.formats.content import Content, SourceArray
from menndl_dask.data.formats.library import guarded, mapped, reading

SUFFIXES = (".mrc", ".mrcs", ".map", ".rec", ".st", ".ccp4")


@contextmanager
def open_mrc(path: Path) -> Iterator[Content]:
    """Open an MRC file: a volume (z, y, x), a stack of images (page, y, x), or an image (y, x).

    The header says which; voxel sizes are in ångström.
    """
    with reading(path, "MRC"):
        import mrcfile

        file = mrcfile.mmap(path, "r")
    with file:
        with reading(path, "MRC"):
            rank = file.data.ndim
            first = ("page",) if file.is_image_stack() or rank == 4 else ()
            dims = (*first, *("z", "y", "x")[len(first) - rank :])
            sizes = {name: float(f"{file.voxel_size[name]:.6g}") for name in dims if name != "page"}
            known = all(size > 0 for size in sizes.values())
            attributes = {"spacing_unit": "Å"} if known else {}
            source = SourceArray(mapped(file.data, path), dims, attributes, None, sizes if known else {})
        kind = "a stack of images" if first else "a volume" if rank == 3 else "an image"
        note = f"axes: {kind}, as the header says (--dims names the axes otherwise)"
        arrays = guarded({"image": source}, path, "MRC")
        yield Content(arrays, images=("image",), consecutive=bool(first), notes=(note,) if rank > 2 else ())
