"""Words for people: numbers with their nouns, and who has stopped a program. Pure."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "worker"), counted(1200, "evaluation")
    ('1 worker', '1,200 evaluations')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def stopped_by(end: KeyboardInterrupt) -> str:
    """Return who has stopped a program: a signal that is named in the interrupt, else the user.

    >>> stopped_by(KeyboardInterrupt("SIGTERM")), stopped_by(KeyboardInterrupt())
    ('stopped by SIGTERM', 'stopped by Ctrl-C')
    """
    return f"stopped by {end.args[0] if end.args else 'Ctrl-C'}"
