"""The average of a network's weights over its training, by which it is scored and saved. Runs in training.

The weights after the last steps are a matter of chance: they move about a good place. Their average over the last part
of a training is nearer to it, so that scores are steadier and predictions better (Polyak and Juditsky 1992,
doi:10.1137/0330046). Here a step counts in proportion to the cube of its number (Shamir and Zhang 2013,
doi:10.48550/arXiv.1212.1824), so that the average follows the training however long it is: half of it comes from the
last sixth of the steps so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import numpy as np

_POWER = 4  # the first n steps of N have the share (n / N) ** 4 of the average


class WeightAverage:
    """The average of variables, those with real numbers; as long as there were no steps it is their values.

    Parameters
    ----------
    variables
        Those of a network: its weights, and statistics such as those of batch normalisation.
    """

    def __init__(self, variables: Sequence[keras.Variable]) -> None:
        self._own = [v for v in variables if keras.backend.is_float_dtype(v.dtype)]
        self.variables = [keras.Variable(v.numpy(), trainable=False, dtype=v.dtype) for v in self._own]

    def update(self, before: int, after: int) -> None:
        """Take the values after some steps into account; `before` and `after` are the steps of the training so far."""
        kept = (before / after) ** _POWER
        for average, own in zip(self.variables, self._own, strict=True):
            # in NumPy: a backend would compile these operations anew for each shape
            average.assign(kept * average.numpy() + (1.0 - kept) * own.numpy())

    def exchange(self) -> None:
        """Exchange the values of the variables and their averages."""
        for average, own in zip(self.variables, self._own, strict=True):
            values = np.array(own.numpy())  # a copy: the array may be a view of the variable's memory
            own.assign(np.array(average.numpy()))
            average.assign(values)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the variables their averages for a while."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()
