"""Adam as one operation for each array of weights, with TensorFlow. Runs in the training process.

Keras writes the update as about twelve operations an array. On small networks these take as long to trace as the
network itself, and a good part of each step.
"""

from __future__ import annotations

from typing import Any

import keras


class FusedAdam(keras.optimizers.Adam):  # type: ignore[misc]  # Keras ships no types
    """Adam (Kingma and Ba 2015, doi:10.48550/arXiv.1412.6980) with the same results as Keras's own."""

    def _backend_apply_gradients(self, grads: Any, trainable_variables: Any) -> None:
        import tensorflow as tf

        # once for all arrays
        step = tf.cast(self.iterations.value, tf.float32) + 1.0
        self._powers = tf.pow(float(self.beta_1), step), tf.pow(float(self.beta_2), step)
        super()._backend_apply_gradients(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update an array of weights; as Keras does where the gradient is sparse, or AMSGrad was asked for."""
        import tensorflow as tf

        if self.amsgrad or not isinstance(gradient, tf.Tensor):
            super().update_step(gradient, variable, learning_rate)
            return
        place = self._get_variable_index(variable)
        first, second = self._momentums[place].value, self._velocities[place].value
        weights = variable if isinstance(variable, tf.Variable) else variable.value
        kind = weights.dtype
        beta1_power, beta2_power = (tf.cast(power, kind) for power in self._powers)
        rates = [tf.cast(rate, kind) for rate in (learning_rate, self.beta_1, self.beta_2, self.epsilon)]
        tf.raw_ops.ResourceApplyAdam(
            var=weights.handle, m=first.handle, v=second.handle, beta1_power=beta1_power, beta2_power=beta2_power,
            lr=rates[0], beta1=rates[1], beta2=rates[2], epsilon=rates[3], grad=tf.cast(gradient, kind),
        )
