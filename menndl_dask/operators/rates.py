"""Rates: how often each operator is used, learnt from what has paid off in this run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np


class Rates:
    """Probabilities of operators that follow their success.

    An operator's weight is its prior weight times its rate of success, with so many imagined uses that a
    few lucky ones change little, and forgetting old ones; none falls under a tenth of its prior weight.

    Parameters
    ----------
    priors
        The operators' weights before anything is known.
    memory
        Number of uses of an operator after which old ones have lost most of their weight.

    >>> rates = Rates({"step": 1.0, "insert": 1.0})
    >>> for _ in range(50):
    ...     rates.credit("step", 1.0)
    ...     rates.credit("insert", 0.0)
    >>> rates.weights()["step"] > 5 * rates.weights()["insert"]
    True
    """

    def __init__(self, priors: Mapping[str, float], memory: float = 200.0) -> None:
        self._priors = dict(priors)
        self._keep = 1.0 - 1.0 / memory
        self._imagined = 8.0
        self._uses = dict.fromkeys(self._priors, 0.0)
        self._gains = dict.fromkeys(self._priors, 0.0)
        self.counts: dict[str, list[int]] = {name: [0, 0] for name in self._priors}  # uses, successes

    def credit(self, name: str, gain: float) -> None:
        """Count one use of an operator, worth between 0 (useless) and 1; unknown names are passed over."""
        if name not in self._priors:
            return
        self._uses[name] = self._uses[name] * self._keep + 1.0
        self._gains[name] = self._gains[name] * self._keep + gain
        self.counts[name][0] += 1
        self.counts[name][1] += gain > 0.5

    def weights(self) -> dict[str, float]:
        """Return the operators' weights now; they sum to 1."""
        uses, gains = sum(self._uses.values()), sum(self._gains.values())
        usual = (gains + 0.2 * self._imagined) / (uses + self._imagined)
        raw = {name: prior * max(0.1, self._rate(name, usual) / usual) for name, prior in self._priors.items()}
        total = sum(raw.values())
        return {name: weight / total for name, weight in raw.items()}

    def draw(self, rng: np.random.Generator, number: int) -> list[str]:
        """Draw operators by their weights."""
        weights = self.weights()
        names = list(weights)
        drawn = rng.choice(len(names), size=number, p=np.fromiter(weights.values(), float))
        return [names[i] for i in drawn]

    def _rate(self, name: str, usual: float) -> float:
        return (self._gains[name] + usual * self._imagined) / (self._uses[name] + self._imagined)


def only(rates: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
    """Return the entries of some names."""
    wanted = set(names)
    return {name: weight for name, weight in rates.items() if name in wanted}
