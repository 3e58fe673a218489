"""Words for people: numbers with their nouns. Pure."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "worker"), counted(1200, "evaluation")
    ('1 worker', '1,200 evaluations')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
