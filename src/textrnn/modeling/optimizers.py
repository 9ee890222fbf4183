"""Keras' optimizers, which also sum the gradient norms of their steps."""

from typing import Any

from textrnn.modeling import backend
from textrnn.modeling.backend import keras

ops = keras.ops
has_fused_adam = backend.name == "tensorflow"


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
        """Updates `variable` as Keras does, in one operation if the backend has one.

        Keras' update is a dozen operations, each a pass over memory: for an embedding that takes longer than the
        recurrence does.
        """
        if not has_fused_adam:
            super().update_step(gradient, variable, learning_rate)
            return
        index, step = self._get_variable_index(variable), ops.cast(self.iterations + 1, variable.dtype)
        backend.tensorflow.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=ops.power(ops.cast(self.beta_1, variable.dtype), step),
            beta2_power=ops.power(ops.cast(self.beta_2, variable.dtype), step),
            lr=ops.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


def _handle(variable: Any) -> Any:
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


class RMSprop(_Watched, keras.optimizers.RMSprop):
    """Tieleman & Hinton, 2012; the optimizer of the Keras book."""


OPTIMIZERS = {"adam": Adam, "rmsprop": RMSprop}
