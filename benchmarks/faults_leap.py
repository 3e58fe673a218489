"""A driver with LEAP's asynchronous algorithm, for `faults.py`: ``python -m benchmarks.faults_leap RUN JSON``.

LEAP documents no way to carry on after its process has ended, so each start begins anew, with a file of results of its
own. Each result is written into it by LEAP's probe of evaluated individuals.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client
from leap_ec import ops
from leap_ec.distrib import asynchronous
from leap_ec.distrib.individual import DistributedIndividual
from leap_ec.problem import FunctionProblem
from leap_ec.real_rep.initializers import create_real_vector
from leap_ec.real_rep.ops import mutate_gaussian
from leap_ec.representation import Representation

from tests.faults.evaluations import pretend

_BOUNDS = [(-1.0, 1.0)] * 6


def number_of(genome: np.ndarray) -> int:
    """Return a number that tells one genome from another."""
    return zlib.crc32(np.asarray(genome).tobytes())


def main(run: Path, given: dict[str, Any]) -> None:
    """Evaluate as many individuals as were asked for."""
    run.mkdir(exist_ok=True)
    results = run / f"results-{len(list(run.glob('results-*'))):03}"
    results.touch()

    def fitness(genome: np.ndarray) -> float:
        pretend(given["marks"], number_of(genome), given["seconds"])
        return float(np.sum(genome))

    def note(individual: DistributedIndividual) -> None:
        with results.open("a") as file:
            file.write(f"{number_of(individual.genome)} {individual.fitness}\n")
            os.fsync(file.fileno())

    start = 6
    with Client(scheduler_file=given["scheduler_file"]) as client:
        asynchronous.steady_state(
            client,
            max_births=given["evaluations"] - start,
            init_pop_size=start,
            pop_size=20,
            representation=Representation(create_real_vector(_BOUNDS), individual_cls=DistributedIndividual),
            problem=FunctionProblem(fitness, maximize=True),
            offspring_pipeline=[
                ops.random_selection,
                ops.clone,
                mutate_gaussian(std=0.1, bounds=_BOUNDS, expected_num_mutations="isotropic"),
                ops.pool(size=1),
            ],
            evaluated_probe=note,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
