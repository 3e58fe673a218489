"""The optimiser of a training, by its name in Keras. Runs in the training process."""

from __future__ import annotations

import keras

from menndl_dask.errors import UserError, nearest

_OPTIMIZERS = {
    name.lower(): kind
    for name, kind in vars(keras.optimizers).items()
    if isinstance(kind, type) and name not in ("Optimizer", "LossScaleOptimizer")
}


def make_optimizer(
    name: str, learning_rate: float, weight_decay: float, precision: str = "float32"
) -> keras.optimizers.Optimizer:
    """Return a Keras optimiser; the weight decay is Keras's, decoupled from the gradient.

    Small gradients become zero in float16. There the loss is multiplied by a factor, and the gradients are divided by
    it again. If a gradient overflows, its step is skipped and the factor is halved (Micikevicius et al. 2018,
    doi:10.48550/arXiv.1710.03740). The range of bfloat16 is that of float32.

    Raises
    ------
    UserError
        If there is no such optimiser.
    """
    kind = _OPTIMIZERS.get(name.lower())
    if kind is None:
        raise UserError(f"optimizer: expected a name of Keras, got {name!r}{nearest(name.lower(), _OPTIMIZERS)}")
    # AdamW has a default decay that must be set to zero; others warn or slow down if given a decay of zero
    decay = {"weight_decay": weight_decay} if weight_decay or name.lower() == "adamw" else {}
    optimizer = kind(learning_rate=learning_rate, **decay)
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "float16" else optimizer
