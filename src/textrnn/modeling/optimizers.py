"""Keras' optimizers, which also sum the gradient norms of their steps."""

from __future__ import annotations

from typing import Any

from textrnn.modeling.backend import fused_adam, keras

ops = keras.ops


class _Watched(keras.optimizers.Optimizer):
    """Adds `gradient_norms`, the running sum over steps of the global norm before clipping."""

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self.gradient_norms = self.add_variable(shape=(), name="gradient_norms")

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        # TensorFlow leaves an embedding's gradient in parts, one per occurrence of a word, and Keras would square each
        # part. Norm, clip and moments need the square of the sum, so the parts are added first.
        grads = [ops.add(gradient, 0.0) for gradient in grads]
        squares = [ops.dot(flat, flat) for flat in (ops.reshape(gradient, (-1,)) for gradient in grads)]
        self.gradient_norms.assign_add(ops.sqrt(sum(squares)))
        return super().apply(grads, trainable_variables)


class Adam(_Watched, keras.optimizers.Adam):
    """Kingma & Ba, ICLR 2015."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        moments = self._momentums[index], self._velocities[index]
        if not fused_adam(variable, *moments, gradient, learning_rate, self.iterations + 1, self):
            super().update_step(gradient, variable, learning_rate)


class RMSprop(_Watched, keras.optimizers.RMSprop):
    """Tieleman & Hinton, 2012; the optimizer of the Keras book."""


OPTIMIZERS = {"adam": Adam, "rmsprop": RMSprop}
