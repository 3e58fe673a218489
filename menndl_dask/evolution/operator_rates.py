"""Operator rates: how often each operator is used, learned from what has paid off in this run. Pure."""

from __future__ import annotations

from collections.abc import Mapping

_IMAGINED = 8.0  # uses of each operator before the first, so that a few lucky ones change little
_LOWEST = 0.1  # share of its prior rate that every operator keeps


class OperatorRates:
    """Probabilities of operators that follow their success.

    An operator's rate is its prior rate times its share of successes; old uses are forgotten.

    Parameters
    ----------
    priors
        The operators' weights before anything is known.
    memory
        Number of uses of an operator after which old ones have lost most of their weight.

    >>> rates = OperatorRates({"step": 1.0, "insert": 1.0})
    >>> for _ in range(50):
    ...     rates.credit("step", 1.0)
    ...     rates.credit("insert", 0.0)
    >>> rates.current()["step"] > 5 * rates.current()["insert"]
    True
    """

    def __init__(self, priors: Mapping[str, float], memory: float = 200.0) -> None:
        self._priors = dict(priors)
        self._keep = 1.0 - 1.0 / memory
        self._uses = dict.fromkeys(self._priors, 0.0)
        self._gains = dict.fromkeys(self._priors, 0.0)

    def credit(self, name: str, gain: float) -> None:
        """Count one use of an operator, worth between 0 (useless) and 1; unknown names are ignored."""
        if name in self._priors:
            self._uses[name] = self._uses[name] * self._keep + 1.0
            self._gains[name] = self._gains[name] * self._keep + gain

    def current(self) -> dict[str, float]:
        """Return the operators' probabilities now; they sum to 1."""
        usual = (sum(self._gains.values()) + 0.2 * _IMAGINED) / (sum(self._uses.values()) + _IMAGINED)
        raw = {}
        for name, prior in self._priors.items():
            success = (self._gains[name] + usual * _IMAGINED) / (self._uses[name] + _IMAGINED)
            raw[name] = prior * max(_LOWEST, success / usual)
        total = sum(raw.values())
        return {name: rate / total for name, rate in raw.items()}
