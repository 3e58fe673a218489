"""A checker of journals that shares no code with the package: reads the file as `docs/runs.md` describes it."""

from __future__ import annotations

import json
import time
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.scene import Mark


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the evaluations of a run.

    Parameters
    ----------
    asked, recorded
        Number of networks that were to be evaluated, and of those with a result.
    lost
        Networks without a result, and those that had one in an earlier state of the journal and have it no longer.
    duplicated
        Networks with more than one result.
    repeated
        Networks whose evaluation began although their result was in the journal.
    failures
        Kinds of failure of all results; None of those with a fitness.
    """

    asked: int
    recorded: int
    lost: tuple[int, ...]
    duplicated: tuple[int, ...]
    repeated: tuple[int, ...]
    failures: tuple[str | None, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether all is as it must be."""
        return self.asked == self.recorded and not (self.lost or self.duplicated or self.repeated)


def events(data: bytes) -> list[dict[str, Any]]:
    """Return the events of a journal; a torn line at the end is left out.

    Raises
    ------
    ValueError
        If a line before the last one is damaged.
    """
    found = []
    lines = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        body, _, sum_and_end = line.rpartition(b',"crc":"')
        if sum_and_end == b'%08x"}' % zlib.crc32(body + b"}"):
            found.append(json.loads(line))
        elif number < len(lines) - 1:
            raise ValueError(f"line {number} is damaged: {line[:100]!r}")
    return found


@dataclass(frozen=True, slots=True)
class State:
    """A journal as it was at some time: seconds since the machine was started, and its bytes."""

    seconds: float
    journal: bytes

    @classmethod
    def of(cls, run: Path) -> State:
        """Return the state now."""
        file = run / "journal.jsonl"
        return cls(time.monotonic(), file.read_bytes() if file.exists() else b"")


def check(run: Path, evaluations: int, earlier: Iterable[State] = (), marks: Iterable[Mark] = ()) -> Verdict:
    """Return the verdict on a run that has ended.

    Parameters
    ----------
    run
        The run directory.
    evaluations
        How many networks were to be evaluated.
    earlier
        Its journal at earlier times, such as before each fault.
    marks
        What the evaluations have written.
    """
    told = _told((run / "journal.jsonl").read_bytes())
    results = dict(told)
    counts = Counter(number for number, _ in told)
    lost, repeated = set(range(evaluations)) - set(counts), set()
    begun = [(mark.seconds, mark.id) for mark in marks if mark.what == "began"]
    for state in earlier:
        known = dict(_told(state.journal))
        lost |= {number for number, result in known.items() if results.get(number) != result}
        repeated |= {number for seconds, number in begun if seconds > state.seconds and number in known}
    duplicated = (number for number, count in counts.items() if count > 1)
    return Verdict(
        evaluations,
        len(results),
        *(tuple(sorted(ids)) for ids in (lost, duplicated, repeated)),
        tuple(result.get("failure") for result in results.values()),
    )


def _told(journal: bytes) -> list[tuple[int, Any]]:
    return [(event["id"], event["result"]) for event in events(journal) if event["event"] == "told"]
