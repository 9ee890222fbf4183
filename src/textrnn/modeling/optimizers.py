"""Keras' optimizers, which also sum the gradient norms of their steps, and know rates by layer and weight decay."""

from collections.abc import Sequence
from typing import Any

from textrnn.modeling import backend
from textrnn.modeling.backend import keras

ops = keras.ops
has_fused_adam = backend.name == "tensorflow"


class _Extended(keras.optimizers.Optimizer):
    """Adds to an optimizer of Keras `gradient_norms`, the running sum over steps of the global norm before clipping.

    Args:
        weight_decay: how much of every kernel a step takes away, times the kernel's own rate (decoupled weight decay;
            Loshchilov & Hutter, ICLR 2019). Keras' own is at one rate for all. Biases do not decay, nor does an
            embedding, of which every step would also shrink the words that the batch does not have.

    Attributes:
        layer_rates: float32 [depths], the factor of the learning rate at each depth, if `build` is given depths.
    """

    def __init__(self, weight_decay: float = 0.0, **settings: Any) -> None:
        super().__init__(**settings)
        self._decay = weight_decay

    def build(self, variables: Any, depths: Sequence[int] = ()) -> None:
        """Creates the variables; `depths` has one number for each of `variables`."""
        if not self.built:
            super().build(variables)
            self.gradient_norms = self.add_variable(shape=(), name="gradient_norms")
            self._decays = tuple("kernel" in variable.name for variable in variables)
            self._depths = tuple(depths)
            if depths:
                self.layer_rates = self.add_variable((max(depths) + 1,), "ones", name="layer_rates")

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        # TensorFlow leaves an embedding's gradient in parts, one per occurrence of a word, and Keras would square each
        # part. Norm, clip and moments need the square of the sum, so the parts are added first.
        grads = [ops.add(gradient, 0.0) for gradient in grads]
        squares = [ops.dot(flat, flat) for flat in (ops.reshape(gradient, (-1,)) for gradient in grads)]
        self.gradient_norms.assign_add(ops.sqrt(sum(squares)))
        return super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates `variable` at its own rate, after its weight decay."""
        index = self._get_variable_index(variable)
        if self._depths:
            learning_rate = ops.multiply(learning_rate, self.layer_rates[self._depths[index]])
        if self._decay and self._decays[index]:
            self.assign_sub(variable, ops.multiply(variable, ops.multiply(learning_rate, self._decay)))
        super().update_step(gradient, variable, learning_rate)


class _FusedAdam(keras.optimizers.Adam):
    """Keras' Adam, whose update is one operation if the backend has one."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates `variable` as Keras does.

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


class Adam(_Extended, _FusedAdam):
    """Kingma & Ba, ICLR 2015; with weight decay AdamW (Loshchilov & Hutter, ICLR 2019)."""


class RMSprop(_Extended, keras.optimizers.RMSprop):
    """Tieleman & Hinton, 2012; the optimizer of the Keras book."""


OPTIMIZERS = {"adam": Adam, "adamw": Adam, "rmsprop": RMSprop}
