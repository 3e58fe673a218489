"""What most people would write: Keras's own `fit` on the networks that `evaluation.py` names. Run as a program.

    python plain_fit.py NETWORKS.json DATA one|tuner

`one` trains the networks whose numbers come on its standard input, one a line, and clears the session after each;
`tuner` lets KerasTuner draw among them. One line a network comes out: its fitness and the seconds that `fit` took.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from menndl_dask.data.staged_samples import Samples, open_staged
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.metric import Measure
from menndl_dask.problem import Problem


def built(genome: dict[str, Any], problem: Problem, seed: int) -> keras.Model:
    """Return a compiled model, as a user compiles it."""
    keras.utils.set_random_seed(seed)
    model = decode(Genome.from_dict(genome), problem, seed)
    optimizer = keras.optimizers.get(problem.budget.optimizer)
    optimizer.learning_rate = problem.budget.learning_rate
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def fitted(model: keras.Model, train: Samples, validation: Samples, problem: Problem) -> float:
    """Train a model with `fit`, looking at the validation split after each epoch; return the seconds."""
    started = time.perf_counter()
    model.fit(
        train.images[0], train.labels, batch_size=problem.budget.batch_size, epochs=int(problem.budget.epochs or 1),
        validation_data=(validation.images[0], validation.labels), verbose=0,
    )  # fmt: skip
    return time.perf_counter() - started


def fitness(model: keras.Model, validation: Samples, problem: Problem) -> float:
    """Return the problem's own metric, so that all contestants are measured alike."""
    measure = Measure(problem.metric_name, outputs=problem.facts.outputs, ignore=problem.ignore)
    measure.update(validation.labels, model.predict(validation.images[0], verbose=0))
    return measure.value()


def answer(reached: float, seconds: float) -> None:
    """Write a line for a network."""
    sys.stdout.write(json.dumps({"fitness": reached, "fit": seconds}) + "\n")
    sys.stdout.flush()


def tune(networks: list[dict[str, Any]], train: Samples, validation: Samples, problem: Problem) -> None:
    """Have KerasTuner's random search draw among the same networks."""
    import keras_tuner

    def build(choices: Any) -> keras.Model:
        return built(networks[choices.Choice("network", list(range(len(networks))))], problem, 0)

    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.RandomSearch(
            build, "val_accuracy", max_trials=len(networks), directory=folder, project_name="tuned", seed=0
        )
        tuner.search(
            train.images[0], train.labels, batch_size=problem.budget.batch_size, epochs=int(problem.budget.epochs or 1),
            validation_data=(validation.images[0], validation.labels), verbose=0,
        )  # fmt: skip
        found = [trial.score for trial in tuner.oracle.trials.values()]
    for score in found:
        answer(score, 0.0)


def main() -> None:
    """Train the networks that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("session", choices=("one", "tuner"))
    given = parser.parse_args()
    asked = json.loads(given.networks.read_text())
    problem, networks = Problem.from_dict(asked["problem"]), asked["networks"]
    train, validation = open_staged(given.data, "train"), open_staged(given.data, "validation")
    if given.session == "tuner":
        tune(networks, train, validation, problem)
        return
    for line in sys.stdin:
        model = built(networks[int(line)], problem, int(line))
        seconds = fitted(model, train, validation, problem)
        answer(fitness(model, validation, problem), seconds)
        del model
        keras.utils.clear_session()


if __name__ == "__main__":
    main()
