"""Keras' optimizers, which also sum up the gradient norms that they see."""

from __future__ import annotations

from typing import Any

from textrnn.modeling.backend import keras

ops = keras.ops


class _Watched(keras.optimizers.Optimizer):
    """Adds `gradient_norms`, the running sum over steps of the global norm before clipping.

    Its averaged weights (`use_ema`) stay beside the model: the training loop decides when to
    evaluate and keep them, where Keras would overwrite the weights at the end of every `fit`.
    """

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self.gradient_norms = self.add_variable(shape=(), name="gradient_norms")

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        # TensorFlow leaves an embedding's gradient in parts, one for each time that a word occurs, and
        # Keras squares each part by itself. The norm, the clip and the moments need the square of their sum.
        grads = [ops.add(gradient, 0.0) for gradient in grads]
        squares = [ops.sum(ops.square(gradient)) for gradient in grads]
        self.gradient_norms.assign_add(ops.sqrt(sum(squares)))
        return super().apply(grads, trainable_variables)

    def finalize_variable_values(self, var_list: Any) -> None:
        """Leaves the weights alone."""


class Adam(_Watched, keras.optimizers.Adam):
    """Kingma & Ba, ICLR 2015."""


class RMSprop(_Watched, keras.optimizers.RMSprop):
    """Tieleman & Hinton, 2012; what the Keras book uses throughout."""


OPTIMIZERS = {"adam": Adam, "rmsprop": RMSprop}
