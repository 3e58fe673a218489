"""A trainer without Keras, for tests of what trainings do to their processes; run as a program.

A training calls the function that the problem has as its loss, such as ``tests.misbehaving:flooding``.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module

from menndl_dask.evaluation import trainer
from menndl_dask.evaluation.channel import Channel
from menndl_dask.training.failure import outcome_of
from menndl_dask.training.request import TrainingRequest


def run(request: TrainingRequest, channel: Channel) -> None:
    """Do what `menndl_dask.training.training.run` does."""
    channel.send({"phase": "train", "at": time.monotonic()})
    module, _, name = request.problem["loss"].partition(":")
    channel.send(outcome_of(lambda: float(getattr(import_module(module), name)(request))))


if __name__ == "__main__":
    trainer._MODULE, trainer._TRAINING = "tests.cheap_trainer", "tests.cheap_trainer"
    trainer._train_once() if sys.argv[1:] == [trainer._ONCE] else trainer.main()
