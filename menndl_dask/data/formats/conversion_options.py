"""What a user can say of a conversion. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from menndl_dask.errors import UserError


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a conversion, as `menndl_dask.data.formats.conversion.convert` describes them."""

    images: tuple[str, ...] = ()
    label: str | None = None
    dims: tuple[str, ...] | None = None
    classes: tuple[str, ...] = ()
    fill: int | None = None
    chunk: int | None = None
    instances: str | None = None
    radius: float | None = None
    heat: float | None = None
    chips: int | None = None
    label_share: str | None = None
    nodata: float | None = None
    layout: str | None = None
    bands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = ("chunk", self.chunk), ("chips", self.chips), ("radius", self.radius), ("heat", self.heat)
        for name, value in lengths:
            if value is not None and value <= 0:
                raise UserError(f"{name}: expected a number above 0, got {value}")
        if self.heat is not None and self.radius is not None:
            raise UserError("heat: expected without radius: positions become heat maps or discs")
        if self.label_share is not None and self.chips is None:
            raise UserError("label-share: expected with chips, the side of the parts into which images are cut")

    @property
    def boundary(self) -> int | None:
        """Width of the boundaries of numbered objects in pixels at each side; None if labels are classes."""
        if self.instances is None:
            return None
        kind, equals, width = self.instances.partition("=")
        if kind != "boundary" or (equals and not (width.isdigit() and int(width) > 0)):
            raise UserError(f"instances: expected boundary or boundary=WIDTH in pixels, got {self.instances!r}")
        return int(width) if equals else 1
