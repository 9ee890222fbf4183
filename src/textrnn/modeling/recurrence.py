"""Keras' recurrent layers, with a loop of our own where TensorFlow computes on a processor.

The weights, their names and the function that is computed are Keras'; only who loops is not. Keras
leaves the backward pass to automatic differentiation, which takes every little operation of a step
back one by one, and keeps what it needs for that on a stack each. Here a step is one matrix product
and a few operations on its result, forwards and backwards; row `loop` of `reports/benchmarks.md`
says what that saves. With recurrent dropout in training, on a GPU (cuDNN) and on other backends,
Keras loops.

Everything lies as [features, batch]: there the gates are rows, and taking them apart copies nothing.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from textrnn.modeling.backend import keras, on_cpu_tensorflow

if on_cpu_tensorflow:
    import tensorflow as tf

Tensor = Any
STEPS = 4
"""Steps that a round of TensorFlow's loop takes: what a round costs besides its steps is as much as a short step."""


class _Loop:
    """What the layers have in common: the loop over time, forwards and backwards.

    A layer says how a step goes on from its `gates`, the product of its kernel with the column
    `[input, last output, 1]`, and how gradients go back from there. (Under plainer names than these
    the layers would lose `forward`, which is torch's.)
    """

    units: int
    recurrent_dropout: float
    saved: tuple[int, ...]
    """How many times `units` rows each tensor has that `step_forward` keeps for `step_backward`."""

    carried: int
    """How many states a step hands on: the output is the first."""

    def inner_loop(self, sequences: Tensor, initial_state: Tensor, mask: Tensor, training: bool = False) -> Any:
        """As Keras' own, from states of zeros: the last output, all of them `[batch, time, units]`, and no states."""
        if not on_cpu_tensorflow or mask is not None or (training and self.recurrent_dropout):
            return super().inner_loop(sequences, initial_state, mask, training)  # type: ignore[misc]
        inputs = tf.transpose(sequences, [1, 2, 0])
        outputs = tf.transpose(self._run(inputs, self.kernel(), keep=training), [2, 0, 1])
        return outputs[:, -1], outputs, []

    def kernel(self) -> Tensor:
        """Returns float32 [gates, features + units + 1]: all weights of a step, the bias as the last column."""
        raise NotImplementedError

    def step_forward(self, gates: Tensor, states: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Returns the new states, and what `step_backward` needs."""
        raise NotImplementedError

    def step_backward(
        self, saved: tuple[Tensor, ...], gradients: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """Returns the gradient of the gates, and those of the old states but for what comes through the gates."""
        raise NotImplementedError

    def _run(self, inputs: Tensor, kernel: Tensor, keep: bool) -> Tensor:
        """Returns the outputs `[time, units, batch]` for inputs `[time, features, batch]`.

        With `keep`, what a gradient needs is kept from the forward pass; without, which takes a small
        part of the memory, a gradient goes forward once more first.
        """
        features, units = inputs.shape[1], self.units

        def run(inputs: Tensor, kernel: Tensor) -> tuple[Tensor, Any]:
            time, batch = tf.shape(inputs)[0], tf.shape(inputs)[2]
            rounds = -(-time // STEPS)
            steps = rounds * STEPS  # those behind `time` see zeros, and nobody looks at what comes of them
            behind = [[0, steps - time], [0, 0], [0, 0]]
            zeros, one = (tf.zeros([units, batch], inputs.dtype),) * self.carried, tf.ones([1, batch], inputs.dtype)
            array = partial(tf.TensorArray, inputs.dtype, steps, clear_after_read=False, infer_shape=False)
            given = array().unstack(tf.pad(inputs, behind))

            def forwards(keep: bool) -> Any:
                """The outputs, and what is kept: each step's column, and what `step_forward` saves."""

                def onward(t: Tensor, states: Any, outputs: Any, kept: Any) -> Any:
                    for at in (t + step for step in range(STEPS)):
                        column = tf.concat([given.read(at), states[0], one], 0)
                        states, saved = self.step_forward(tf.matmul(kernel, column), states)
                        outputs = outputs.write(at, states[0])
                        if keep:
                            kept = tuple(
                                place.write(at, value) for place, value in zip(kept, (column, *saved), strict=True)
                            )
                    return t + STEPS, states, outputs, kept

                start = (0, zeros, array(), tuple(array() for _ in (0, *self.saved)) if keep else ())
                _, _, *made = tf.while_loop(lambda t, *_: t < steps, onward, start, maximum_iterations=rounds)
                return made

            outputs, kept = forwards(keep)

            def gradient(of_outputs: Tensor) -> tuple[Tensor, Tensor]:
                columns, *saved = kept if keep else forwards(keep=True)[1]
                arriving, transposed = array().unstack(tf.pad(of_outputs, behind)), tf.transpose(kernel[:, :-1])

                def backward(t: Tensor, of_states: Any, of_kernel: Tensor, of_inputs: Any) -> Any:
                    for at in (t - step for step in range(STEPS)):
                        values = (_read(place, at, rows * units) for place, rows in zip(saved, self.saved, strict=True))
                        of_states = (of_states[0] + arriving.read(at), *of_states[1:])
                        of_gates, direct = self.step_backward(tuple(values), of_states)
                        column = _read(columns, at, features + units + 1)
                        of_kernel += tf.matmul(of_gates, column, transpose_b=True)
                        of_input, of_output = tf.split(tf.matmul(transposed, of_gates), [features, units], 0)
                        of_inputs = of_inputs.write(at, of_input)
                        of_states = (of_output if direct[0] is None else of_output + direct[0], *direct[1:])
                    return t - STEPS, of_states, of_kernel, of_inputs

                start = (steps - 1, zeros, tf.zeros_like(kernel), array())
                _, _, of_kernel, of_inputs = tf.while_loop(
                    lambda t, *_: t >= 0, backward, start, maximum_iterations=rounds
                )
                return of_inputs.stack()[:time], of_kernel

            return tf.ensure_shape(outputs.stack()[:time], [None, units, None]), gradient

        return tf.custom_gradient(run)(inputs, kernel)


class SimpleRNN(_Loop, keras.layers.SimpleRNN):
    """Elman, Cognitive Science 1990, as `keras.layers.SimpleRNN` computes it."""

    carried, saved = 1, (1,)

    def kernel(self) -> Tensor:
        """Rows: the one gate."""
        return _kernel(self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)

    def step_forward(self, gates: Tensor, states: tuple[Tensor, ...]) -> Any:
        """New output: tanh of the gate."""
        output = tf.tanh(gates)
        return (output,), (output,)

    def step_backward(self, saved: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> Any:
        """See `step_forward`."""
        return tf.raw_ops.TanhGrad(y=saved[0], dy=gradients[0]), (None,)


class LSTM(_Loop, keras.layers.LSTM):
    """Hochreiter & Schmidhuber, Neural Computation 1997, with the forget gate of Gers et al. (2000), as in Keras."""

    carried, saved = 2, (3, 1, 1, 1)

    def kernel(self) -> Tensor:
        """Rows: input, forget and output gate, candidate; Keras has the candidate before the output gate."""
        kernel = _kernel(self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)
        first, candidate, output = tf.split(kernel, [2 * self.units, self.units, self.units], 0)
        return tf.concat([first, output, candidate], 0)

    def step_forward(self, gates: Tensor, states: tuple[Tensor, ...]) -> Any:
        """New cell: forget x old + input x candidate. New output: output gate x tanh of it."""
        opening, candidate = tf.split(gates, [3 * self.units, self.units], 0)
        opened, candidate = _sigmoid(opening), tf.tanh(candidate)
        let_in, kept, let_out = tf.split(opened, 3, 0)
        cell = kept * states[1] + let_in * candidate
        shown = tf.tanh(cell)
        return (let_out * shown, cell), (opened, candidate, states[1], shown)

    def step_backward(self, saved: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> Any:
        """See `step_forward`."""
        opened, candidate, old, shown = saved
        let_in, kept, let_out = tf.split(opened, 3, 0)
        of_output, of_cell = gradients
        of_cell += tf.raw_ops.TanhGrad(y=shown, dy=of_output * let_out)
        of_opened = tf.concat([of_cell * candidate, of_cell * old, of_output * shown], 0)
        of_gates = [
            tf.raw_ops.SigmoidGrad(y=opened, dy=of_opened),
            tf.raw_ops.TanhGrad(y=candidate, dy=of_cell * let_in),
        ]
        return tf.concat(of_gates, 0), (None, of_cell * kept)


class GRU(_Loop, keras.layers.GRU):
    """Cho et al., EMNLP 2014, with the reset after the product (as in cuDNN), which is Keras' default."""

    carried, saved = 1, (2, 1, 1, 1)

    def kernel(self) -> Tensor:
        """Rows: update and reset gate, and the candidate in two parts: what the input and what the output give."""
        kernel, recurrent, bias = self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias
        gates = 2 * self.units
        return tf.concat(
            [
                _kernel(kernel[:, :gates], recurrent[:, :gates], bias[0, :gates] + bias[1, :gates]),
                _kernel(kernel[:, gates:], tf.zeros_like(recurrent[:, gates:]), bias[0, gates:]),
                _kernel(tf.zeros_like(kernel[:, gates:]), recurrent[:, gates:], bias[1, gates:]),
            ],
            0,
        )

    def step_forward(self, gates: Tensor, states: tuple[Tensor, ...]) -> Any:
        """New output: update x old + (1 - update) x tanh(input's part + reset x output's part)."""
        opening, of_input, of_output = tf.split(gates, [2 * self.units, self.units, self.units], 0)
        opened = _sigmoid(opening)
        update, reset = tf.split(opened, 2, 0)
        candidate = tf.tanh(of_input + reset * of_output)
        return (candidate + update * (states[0] - candidate),), (opened, of_output, candidate, states[0])

    def step_backward(self, saved: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> Any:
        """See `step_forward`."""
        opened, of_output, candidate, old = saved
        update, reset = tf.split(opened, 2, 0)
        gradient = gradients[0]
        kept = gradient * update
        of_candidate = tf.raw_ops.TanhGrad(y=candidate, dy=gradient - kept)
        of_opened = tf.concat([gradient * (old - candidate), of_candidate * of_output], 0)
        of_gates = [tf.raw_ops.SigmoidGrad(y=opened, dy=of_opened), of_candidate, of_candidate * reset]
        return tf.concat(of_gates, 0), (kept,)


def _read(place: Tensor, step: Tensor, rows: int) -> Tensor:
    return tf.ensure_shape(place.read(step), [rows, None])


def _kernel(kernel: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
    """Joins Keras' weights `[features, gates]`, `[units, gates]` and `[gates]`."""
    return tf.transpose(tf.concat([kernel, recurrent, tf.reshape(bias, [1, -1])], 0))


def _sigmoid(gates: Tensor) -> Tensor:
    """TensorFlow's own takes twice as long as its tanh."""
    return 0.5 + 0.5 * tf.tanh(0.5 * gates)
