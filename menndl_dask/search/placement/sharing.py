"""How many networks share a GPU: as many as raise what the GPUs get done. Pure."""

from __future__ import annotations

from menndl_dask.result import Result
from menndl_dask.text import counted

_GAIN = 1.05  # from which one more on each GPU counts as faster: less may be chance
_FEWEST = 8  # results that are measured with each number


class Sharing:
    """Begins with one network on each GPU, and tries one more as long as that is faster.

    What the GPUs get done is measured as FLOPs of training in a time, not as networks, since networks differ in size:
    the FLOPs of the results over the time that they took, times the number that run at once. Results that were in
    flight when the number changed count for neither.

    Parameters
    ----------
    most
        Networks on a GPU, at most.

    Attributes
    ----------
    level, most
        Networks on a GPU now, and at most.

    >>> sharing = Sharing(most=3)
    >>> speed = {1: 1.0, 2: 0.8, 3: 0.5}  # of one network, with so many on its GPU
    >>> for _ in range(100):
    ...     done = Result(0.5, costs={"flops_training": 1e12}, times={"total": 10 / speed[sharing.level]})
    ...     if (message := sharing.tell(done, gpus=1)) is not None:
    ...         print(message)
    now 2 networks on each GPU, to see whether that is faster than 1
    2 networks on each GPU do 1.60 times as much as 1; now 3, to see whether that is faster
    3 networks on each GPU do 0.94 times as much as 2; from now on 2
    """

    def __init__(self, most: int) -> None:
        self.level = 1
        self.most = most
        self._is_decided = most <= 1
        self._rate = 0.0  # with one network fewer on each GPU
        self._skipped = self._count = 0
        self._flops = self._seconds = 0.0

    def tell(self, result: Result, gpus: int) -> str | None:
        """Add a result of these GPUs; return what follows from it, if anything does."""
        flops, seconds = result.costs.get("flops_training", 0.0), result.times.get("total", 0.0)
        if self._is_decided or flops <= 0.0 or seconds <= 0.0:
            return None
        at_once = self.level * gpus
        if self.level > 1 and self._skipped < at_once:
            self._skipped += 1
            return None
        self._count += 1
        self._flops += flops
        self._seconds += seconds
        return self._decide() if self._count >= max(_FEWEST, 2 * at_once) else None

    def _decide(self) -> str:
        rate = self.level * self._flops / self._seconds
        former, last = self._rate, self.level
        self._rate, self._skipped, self._count, self._flops, self._seconds = rate, 0, 0, 0.0, 0.0
        if last == 1:
            self.level = 2
            return "now 2 networks on each GPU, to see whether that is faster than 1"
        compared = f"{counted(last, 'network')} on each GPU do {rate / former:.2f} times as much as {last - 1}"
        if rate < _GAIN * former:
            self.level, self._is_decided = last - 1, True
            return f"{compared}; from now on {self.level}"
        if last == self.most:
            self._is_decided = True
            return f"{compared}; from now on {last}, the most that fit"
        self.level = last + 1
        return f"{compared}; now {self.level}, to see whether that is faster"
