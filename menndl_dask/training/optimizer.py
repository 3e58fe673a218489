"""The optimiser of a training: Keras's, or an Adam in fewer operations. Runs in the training process.

Keras writes an update of Adam as about twelve operations for each array of weights. On
small networks they take as long to trace as the network itself, and a good part of each step
(benchmarks/optimizer.py).
"""

from __future__ import annotations

from typing import Any

import keras

from menndl_dask.errors import UserError, nearest

_OPTIMIZERS = {
    name.lower(): kind
    for name, kind in vars(keras.optimizers).items()
    if isinstance(kind, type) and name not in ("Optimizer", "LossScaleOptimizer")
}


class FusedAdam(keras.optimizers.Adam):  # type: ignore[misc]  # Keras ships no types
    """Adam (Kingma and Ba 2015, doi:10.48550/arXiv.1412.6980) as one operation for each array of weights."""

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        import tensorflow as tf

        if self.amsgrad or not all(isinstance(gradient, tf.Tensor) for gradient in grads):
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        step = tf.cast(self.iterations.value, tf.float32) + 1.0
        rates = {  # once for all arrays
            "beta1_power": tf.pow(float(self.beta_1), step), "beta2_power": tf.pow(float(self.beta_2), step),
            "lr": learning_rate, "beta1": self.beta_1, "beta2": self.beta_2, "epsilon": self.epsilon,
        }  # fmt: skip
        rates = {name: tf.cast(rate, tf.float32) for name, rate in rates.items()}
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            weights = variable if isinstance(variable, tf.Variable) else variable.value
            index = self._get_variable_index(weights)
            first, second = self._momentums[index].value, self._velocities[index].value
            cast = {name: tf.cast(rate, weights.dtype) for name, rate in rates.items()}
            tf.raw_ops.ResourceApplyAdam(
                var=weights.handle, m=first.handle, v=second.handle, grad=tf.cast(gradient, weights.dtype), **cast
            )


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
    if name.lower() not in _OPTIMIZERS:
        raise UserError(f"optimizer: expected a name of Keras, got {name!r}{nearest(name.lower(), _OPTIMIZERS)}")
    kind = _OPTIMIZERS[name.lower()]
    if name.lower() in ("adam", "adamw") and keras.backend.backend() == "tensorflow":
        kind, name = FusedAdam, "adam"  # the two differ only in their default decay
    # AdamW has a default decay that must be set to zero; others warn or slow down if given a decay of zero
    decay = {"weight_decay": weight_decay} if weight_decay or name.lower() == "adamw" else {}
    optimizer = kind(learning_rate=learning_rate, **decay)
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "float16" else optimizer
