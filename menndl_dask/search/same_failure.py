"""The same failure again and again: a problem of the site or of the user's code, not of the networks. Pure.

A missing module, a full disk or a broken GPU makes every evaluation fail alike, and a search could spend its whole
budget on that. So failures that may have such a cause are held back while they follow each other: they are neither
written into the journal nor told to evolution until another result arrives. If they become too many, the search ends,
and the networks are evaluated again when it is carried on, as what was in flight.

Failures that say something about a network (`menndl_dask.result.FAILURES`) are never held back: ``infeasible``,
``no_learning``, ``pruned``, ``diverged``, ``out_of_memory``, ``timed_out``, and ``killed`` as the system does where
memory runs out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from menndl_dask.genome.individual import Evaluation
from menndl_dask.result import Result

_FEWEST = 20  # equal failures in a row, at least
_CHANCE = 1e-6  # probability of so many in a row if the site is sound, at most
_KINDS = ("error", "killed", "worker_lost")
_OUT_OF_MEMORY = "SIGKILL"
_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|0x[0-9a-fA-F]+|\w+://\S+|\d+")  # names, addresses, numbers


class SameFailure:
    """Holds back equal failures that follow each other.

    Attributes
    ----------
    held
        These evaluations, in the order of their results.

    >>> same = SameFailure()
    >>> same.sift([(None, Result.failed("error", f"no file 'part-{n}'")) for n in range(30)])
    []
    >>> len(same.held), same.is_everywhere(slots=2), same.is_everywhere(slots=100)
    (30, True, False)
    >>> len(same.sift([(None, Result(0.5))]))
    31
    """

    def __init__(self) -> None:
        self.held: list[Evaluation] = []
        self._kind: tuple[str, str] | None = None  # of those that are held
        self._results = self._suspicious = 0  # of those that are not held

    def sift(self, completed: Iterable[Evaluation]) -> list[Evaluation]:
        """Return the evaluations that are to be recorded now, in order: these and held ones, or none."""
        passed: list[Evaluation] = []
        for individual, result in completed:
            kind = _kind_of(result)
            if kind is None or kind != self._kind:
                passed += self.release()
                self._kind = kind
            if kind is None:
                passed.append((individual, result))
                self.recall(result)
            else:
                self.held.append((individual, result))
        return passed

    def release(self) -> list[Evaluation]:
        """Return the evaluations that are held, and hold them no longer."""
        released = self.forget()
        for _, result in released:
            self.recall(result)
        return released

    def recall(self, result: Result) -> None:
        """Take note of a result that is recorded."""
        self._results += 1
        self._suspicious += _kind_of(result) is not None

    def is_everywhere(self, slots: int) -> bool:
        """Return whether so many have failed alike that it cannot be the networks.

        `slots` is the number of evaluations that the workers can do at the same time. Where networks of this search
        have failed with errors before, more are needed.
        """
        usual = (self._suspicious + 1) / (self._results + 2)
        return len(self.held) >= max(_FEWEST, slots, math.log(_CHANCE) / math.log(usual))

    def forget(self) -> list[Evaluation]:
        """Return the evaluations that are held, which are evaluated again, and hold them no longer."""
        forgotten, self.held, self._kind = self.held, [], None
        return forgotten

    @property
    def workers(self) -> set[str]:
        """Addresses of the workers that the held ones come from."""
        return {result.worker for _, result in self.held}

    def describe(self) -> str:
        """Say what has failed how often, in one line."""
        result = self.held[-1][1]
        count = len(self.held)
        return f"{count} evaluations in a row failed alike: {result.failure}: {result.message[:250]}"


def _kind_of(result: Result) -> tuple[str, str] | None:
    """Return what equal failures have in common; None for a result that says something about its network."""
    if result.failure not in _KINDS or (result.failure == "killed" and _OUT_OF_MEMORY in result.message):
        return None
    return result.failure, _VARYING.sub("#", result.message)
