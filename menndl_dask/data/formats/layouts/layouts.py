"""Which layout a folder has, and how it is opened. Runs on the driver."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from menndl_dask.data.formats.content import Content
from menndl_dask.data.formats.layouts.electron_microscopy import (
    is_cremi,
    is_isbi,
    is_snemi3d,
    open_cremi,
    open_isbi,
    open_snemi3d,
)
from menndl_dask.data.formats.layouts.medical import is_nnunet, open_nnunet
from menndl_dask.data.formats.layouts.satellites import (
    is_l8biome,
    is_landsat,
    is_sentinel2,
    open_l8biome,
    open_landsat,
    open_sentinel2,
)
from menndl_dask.errors import DataError, UserError, nearest


@dataclass(frozen=True, slots=True)
class Layout:
    """How a layout is recognised and opened."""

    title: str
    fits: Callable[[Path], bool]
    opener: Callable[[Path, Sequence[str]], AbstractContextManager[Content]]
    has_bands: bool = False


LAYOUTS: Mapping[str, Layout] = {
    "cremi": Layout("CREMI", is_cremi, open_cremi),
    "snemi3d": Layout("SNEMI3D", is_snemi3d, open_snemi3d),
    "isbi": Layout("ISBI 2012", is_isbi, open_isbi),
    "nnunet": Layout("nnU-Net's raw data", is_nnunet, open_nnunet),
    "l8biome": Layout("L8 Biome", is_l8biome, open_l8biome, has_bands=True),
    "landsat": Layout("a Landsat scene", is_landsat, open_landsat, has_bands=True),
    "sentinel2": Layout("Sentinel-2 scenes", is_sentinel2, open_sentinel2, has_bands=True),
}
"""Layouts by the value of ``--layout``."""


def open_layout(path: Path, name: str, bands: Sequence[str] | None = None) -> AbstractContextManager[Content]:
    """Open a file or folder with a published layout.

    Raises
    ------
    UserError
        If there is no such layout or no such file, or if the layout has no bands to choose.
    """
    if name not in LAYOUTS:
        raise UserError(f"layout: expected one of {', '.join(LAYOUTS)}, got {name!r}{nearest(name, LAYOUTS)}")
    if not path.exists():
        raise DataError(f"{path}: expected a file or folder, found none")
    layout = LAYOUTS[name]
    if bands and not layout.has_bands:
        raise UserError(f"bands: the layout {name} has no bands to choose")
    return layout.opener(path, tuple(bands or ()))


def suggested(path: Path, arrays: Collection[str] = ()) -> str | None:
    """Return what a folder, or a file with these arrays, looks like, and the option that opens it; else None."""
    found = next((name for name, layout in LAYOUTS.items() if path.is_dir() and layout.fits(path)), None)
    if {"volumes/raw", "volumes/labels/neuron_ids"} <= set(arrays):
        found = "cremi"
    return None if found is None else f"looks like {LAYOUTS[found].title}: add --layout {found}"
