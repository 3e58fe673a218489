"""What a conversion found, took, assumed, changed and left out, as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_KINDS = ("images", "axes", "labels", "taken", "splits", "coordinates", "changed", "left out", "note")
_WIDTH = 13


@dataclass(frozen=True, slots=True)
class Converted:
    """The store that a conversion wrote, and what is to be said about it."""

    path: Path
    lines: tuple[str, ...]
    next: str  # the command that comes next

    def __str__(self) -> str:
        return "\n".join([f"written: {self.path}", *self.lines, f"next: {self.next}"])


def arranged(notes: Iterable[str]) -> tuple[str, ...]:
    r"""Return notes such as ``changed: …`` in the order of their kinds, each kind under one heading.

    >>> print("\n".join(arranged(["changed: masks", "images: image", "changed: bands"])))
      images       image
      changed      masks
                   bands
    """
    found: dict[str, list[str]] = {}
    for note in notes:
        kind, _, text = note.partition(": ")
        kind, text = (kind, text) if kind in _KINDS else ("note", note)
        if text not in found.setdefault(kind, []):
            found[kind].append(text)
    order = [kind for kind in _KINDS if kind in found]
    return tuple(_row(kind if first == 0 else "", text) for kind in order for first, text in enumerate(found[kind]))


def _row(kind: str, text: str) -> str:
    return f"  {kind:<{_WIDTH}}{text}"


def shares(counts: Sequence[tuple[str, int]], most: int = 12) -> str:
    """Return classes with their share of the labels.

    >>> shares([("sea", 3), ("land", 1)])
    'sea 75.0%, land 25.0%'
    """
    total = max(1, sum(count for _, count in counts))
    shown = ", ".join(f"{name} {count / total:.1%}" for name, count in counts[:most])
    return shown + (f", … ({len(counts)} classes)" if len(counts) > most else "")
