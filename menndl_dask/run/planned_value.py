"""A value of the plan: what it is, why, and whether the user gave it. Pure.

The names are those of the options: ``batch_size`` is the value of ``--batch-size``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from menndl_dask.text import quantity

GIVEN = "you gave it"
_VALUE_WIDTH, _REASON_WIDTH = 24, 64  # characters
_TITLES = {
    "patch": "patch",
    "batch_size": "batch",
    "patches": "patches an epoch",
    "epochs": "epochs",
    "steps": "steps",
    "seconds": "seconds",
    "flops": "FLOPs of training",
    "augment": "augmentation",
    "large_images": "large images",
    "max_parameters": "most parameters",
    "max_flops": "most FLOPs",
    "max_memory": "most memory of a step",
    "memory_limit": "memory limit",
    "time_limit": "time limit",
    "minutes": "expected time",
}


@dataclass(frozen=True, slots=True)
class PlannedValue:
    """A value of the plan.

    Parameters
    ----------
    name
        Name of the option that sets it, with underscores.
    value
        The value, as the option takes it: a number, a word, numbers of pixels; None for none.
    reason
        Why, in a sentence with the numbers that it follows from.
    given
        Whether the user gave it.
    """

    name: str
    value: Any
    reason: str
    given: bool = False

    def rows(self) -> list[list[str]]:
        """Return the value as rows of a table: what, the value, the reason; more rows for a long reason."""
        shown = textwrap.wrap(self.shown, _VALUE_WIDTH)
        reason = textwrap.wrap(self.reason, _REASON_WIDTH)
        return [list(cells) for cells in zip_longest([self.title], shown, reason, fillvalue="")]

    @property
    def title(self) -> str:
        """What the value is of, in words."""
        return _TITLES.get(self.name, self.name.replace("_", " "))

    @property
    def shown(self) -> str:
        """The value in words.

        >>> PlannedValue("patch", (16, 64, 64), "").shown, PlannedValue("max_parameters", 5e6, "").shown
        ('16 × 64 × 64', '5.00 M')
        >>> PlannedValue("augment", (), "").shown, PlannedValue("time_limit", 600.0, "").shown
        ('none', '600 s')
        """
        value = self.value
        if value is None or value in ((), []):
            return {"patch": "whole images", "minutes": "not known"}.get(self.name, "none")
        if self.name == "patch":
            return " × ".join(map(str, value))
        if self.name in ("max_parameters", "max_flops", "flops"):
            return quantity(value)
        if self.name == "minutes":
            return minutes_text(value)
        unit = {"memory_limit": " GB", "max_memory": " GB", "time_limit": " s", "seconds": " s", "hours": " h"}
        if isinstance(value, float):
            value = f"{value:.6g}"
        return (", ".join(value) if isinstance(value, (tuple, list)) else str(value)) + unit.get(self.name, "")

    def to_dict(self) -> dict[str, Any]:
        """Return the value and the reason as a plain dict, for ``run.yaml``."""
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return {"value": value, "because": self.reason, "given": self.given}

    @classmethod
    def from_dict(cls, name: str, data: Mapping[str, Any]) -> PlannedValue:
        """Read a value back."""
        value = data.get("value")
        value = tuple(value) if isinstance(value, list) else value
        return cls(name, value, str(data.get("because", "")), bool(data.get("given", False)))


def minutes_text(minutes: float) -> str:
    """Return a duration for people.

    >>> minutes_text(0.4), minutes_text(47.2), minutes_text(150)
    ('1 minute', '47 minutes', '2.5 hours')
    """
    if minutes >= 100:
        return f"{minutes / 60:.1f} hours"
    whole = max(1, round(minutes))
    return f"{whole} minute{'s' if whole > 1 else ''}"


def seconds_text(seconds: float) -> str:
    """Return seconds with two digits.

    >>> seconds_text(0.0123), seconds_text(0.456), seconds_text(1.234), seconds_text(75.3)
    ('12 ms', '460 ms', '1.2 s', '75 s')
    """
    value, unit = (1000 * seconds, "ms") if seconds < 1 else (seconds, "s")
    return f"{float(f'{value:.2g}') if value < 1000 else value:.6g} {unit}"
