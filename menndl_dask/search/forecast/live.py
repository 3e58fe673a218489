"""The forecast of a search that runs: made once at each start. Runs on the driver.

It costs a tenth of a second and no training.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from menndl_dask.errors import MenndlError
from menndl_dask.genome.individual import Evaluation
from menndl_dask.problem import Problem
from menndl_dask.run.forecast.forecast import CostForecast
from menndl_dask.search.forecast.estimate import forecast
from menndl_dask.search.forecast.known import by_results, drawn, feasible
from menndl_dask.space.space import SearchSpace

_FEWEST, _MOST = 6, 32  # results that a forecast is made from
_LATEST_SHARE = 0.6  # of the evaluations, after which a forecast is of no use

logger = logging.getLogger(__name__)


class LiveForecast:
    """Makes the forecast of a search at each start: at once if a trial was made or results are there.

    Parameters
    ----------
    made
        The forecast of a plan, which holds for a search without results.
    say
        Tells the user the forecast in a line.
    per_node
        Trainings at a time on a node; 0 for one machine.
    """

    def __init__(
        self, made: CostForecast | None = None, say: Callable[[str], object] | None = None, per_node: int = 0
    ) -> None:
        self._made, self._say, self._per_node = made, say, per_node
        self._results: list[Evaluation] = []
        self._done = 0
        self._is_made = False

    def add(self, evaluation: Evaluation) -> None:
        """Take a result."""
        self._done += 1
        self._results.append(evaluation)
        if len(self._results) > _MOST:  # the latest are most like the next ones
            del self._results[0]
        if self._is_made:
            self._results.clear()

    def due(
        self, problem: Problem | None, space: SearchSpace, *, workers: int, evaluations: int | None,
        hours: float | None, spent_s: float,
    ) -> CostForecast | None:  # fmt: skip
        """Return the forecast if it is time to tell it, which is once; `spent_s` are seconds of the search so far."""
        if self._is_made or problem is None or workers == 0:
            return None
        if self._made is not None and not self._done:
            return self._announced(self._made)
        is_late = evaluations is not None and self._done > _LATEST_SHARE * evaluations
        if is_late or len(self._results) < min(_MOST, max(_FEWEST, workers)):
            return None
        self._is_made = True  # also if it fails
        try:
            known = feasible([individual.genome for individual, _ in self._results], problem)
            basis = by_results(problem, self._results, [*known, *drawn(space)])
        except MenndlError as error:  # a forecast must not end a search
            logger.info("no forecast: %s", error)
            return None
        if basis is None:
            return None
        nodes = -(-workers // self._per_node) if self._per_node else 1
        found = forecast(
            problem, basis, workers=workers, evaluations=evaluations, hours=hours, nodes=nodes, done=self._done,
            spent_s=spent_s,
        )  # fmt: skip
        return self._announced(found)

    def _announced(self, made: CostForecast) -> CostForecast:
        self._is_made = True
        self._results.clear()
        if self._say is not None:
            self._say(made.line())
        return made
