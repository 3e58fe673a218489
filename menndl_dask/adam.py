"""Adam as one operation for each array of weights, with TensorFlow. Runs in the training process.

Keras writes the update as about twelve operations an array. On small networks these take as long to trace as the
network itself, and a good part of each step.
"""

from __future__ import annotations

from typing import Any

import keras


class FusedAdam(keras.optimizers.Adam):  # type: ignore[misc]  # Keras ships no types
    """Adam (Kingma and Ba 2015, doi:10.48550/arXiv.1412.6980) with the same results as Keras's own."""

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
            place = self._get_variable_index(weights)
            first, second = self._momentums[place].value, self._velocities[place].value
            of_kind = {name: tf.cast(rate, weights.dtype) for name, rate in rates.items()}
            tf.raw_ops.ResourceApplyAdam(
                var=weights.handle, m=first.handle, v=second.handle, grad=tf.cast(gradient, weights.dtype), **of_kind
            )
