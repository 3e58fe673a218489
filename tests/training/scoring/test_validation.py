"""Evidence of learning: the best constant prediction is no evidence, whatever loss it is measured with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from menndl_dask.data.staged_samples import Samples
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Convolution
from menndl_dask.training.batches import WholeSamples
from menndl_dask.training.loss import Loss, constant_losses, loss_minimising_constant
from menndl_dask.training.scoring.significance import beyond_noise
from menndl_dask.training.scoring.validation import ValidationScores, Validator
from tests.problems import problem


@pytest.mark.parametrize("name", ["dice", "dice_crossentropy", "tversky", "focal", "weighted_crossentropy"])
def test_a_network_that_ends_at_the_best_constant_is_not_better_than_it(name: str) -> None:
    of = problem("segmentation", ((8, 8, 1),), outputs=2, loss=name, class_weight="none")
    rng = np.random.default_rng(0)
    labels = np.zeros((200, 8, 8), "uint8")
    labels[::5, :4, :4] = 1  # most batches of two samples have no pixel of class 1
    batches = [labels[rng.choice(200, 2)] for _ in range(200)]
    loss, genome = Loss(of), Genome((Convolution(4),))
    source = WholeSamples(Samples((np.zeros((200, 8, 8, 1), "float32"),), labels), 0)
    loop: Any = None
    validator = Validator(of, loss, loop, cost_of(genome, of), 2, source)
    losses = constant_losses(of, loss, loss_minimising_constant(of, batches), batches)
    _, of_training, _ = validator.learning_evidence(ValidationScores(0.0, 0.0), losses)
    assert len(of_training) == 100
    assert not beyond_noise(of_training)
    better = list(validator.learning_evidence(ValidationScores(0.0, 0.0), losses - 0.2))[1]
    assert beyond_noise(better)
