"""Whether the pixels of images to be predicted are as large as those of the training images. Runs on the driver."""

from __future__ import annotations

from collections.abc import Mapping
from unicodedata import normalize

import xarray as xr

from menndl_dask.data.dataset import open_store
from menndl_dask.errors import MenndlError
from menndl_dask.prediction.images import ImageSource
from menndl_dask.problem import Problem

_ALIKE = 1.3  # ratio of the sizes of pixels up to which images are alike: zoom in augmentation goes about as far
_METRES: Mapping[str, float] = {
    **dict.fromkeys(("å", "a", "ang", "angstrom", "angstroms"), 1e-10),
    **dict.fromkeys(("pm", "picometer"), 1e-12),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-9),
    **dict.fromkeys(("μm", "um", "micron", "micrometer", "micrometre"), 1e-6),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e-3),
    **dict.fromkeys(("m", "meter", "metre"), 1.0),
}


def pixel_size_note(problem: Problem, image: ImageSource) -> str:
    """Return a line on the size of a pixel, if it differs from that in training or is not known; else an empty text.

    Sizes are compared if both stores say them, and their units if these differ.
    """
    trained = problem.facts.spacing
    if not trained:
        return ""
    unit = _unit(problem.data, problem.inputs[0])
    was = f"that of the training images {_sizes(trained)} {unit}".rstrip()
    if not image.spacing:
        return f"note: the size of a pixel of these images is not known, {was}"
    here = _unit(image.path, image.name, image.group)
    said = f"note: a pixel of these images is {_sizes(image.spacing)} {here}".rstrip()
    metres = [_METRES.get(normalize("NFKC", text).casefold()) for text in (here, unit)]
    if here != unit and None in metres:
        return f"{said}, {was}: the units cannot be compared"
    scale = 1.0 if here == unit else (metres[0] or 1.0) / (metres[1] or 1.0)
    ratios = [own * scale / size for own, size in zip(image.spacing, trained, strict=True)]
    if max(max(ratio, 1 / ratio) for ratio in ratios) <= _ALIKE:
        return ""
    return f"{said}, {was}: the network has not seen things of this size in pixels; resample the images"


def _unit(path: str, name: str, group: str = "") -> str:
    """Return the attribute ``spacing_unit`` of a variable; empty if there is none, or no store any more."""
    where = f"{path}/{group}" if group else path
    try:
        store: xr.Dataset = open_store(where)
        return str(store[name].attrs.get("spacing_unit", "")) if name in store else ""
    except MenndlError:
        return ""


def _sizes(spacing: tuple[float, ...]) -> str:
    return " × ".join(f"{size:.3g}" for size in spacing)
