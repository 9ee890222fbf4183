"""Keras' recurrent layers, with another loop over time where TensorFlow computes on a processor.

The weights, their names and the function that is computed are Keras'; only who loops is not. Keras
leaves the backward pass to automatic differentiation, which takes every little operation of a step
back one by one, and keeps what it needs for that on a stack each. TensorFlow has all steps of an
LSTM as one operation, with a gradient; the other two have a loop of our own here, in which a step is
one matrix product forwards, two backwards, and a few operations on their results. Row `loop` of
`reports/benchmarks.md` says what that saves. With recurrent dropout in training, on a GPU (cuDNN), on
other backends, and for an LSTM in another precision than float32, Keras loops.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from textrnn.modeling.backend import keras, on_cpu_tensorflow
from textrnn.modeling.layers import swapped

if on_cpu_tensorflow:
    import tensorflow as tf

Tensor = Any
STEPS = 4
"""Steps that a round of TensorFlow's loop takes: what a round costs besides its steps is as much as a short step."""


class _OnProcessor:
    """Takes the place of Keras' loop where it can."""

    recurrent_dropout: float
    in_float32_only = False

    def inner_loop(self, sequences: Tensor, initial_state: Tensor, mask: Tensor, training: bool = False) -> Any:
        """As Keras' own, from states of zeros: the last output, all of them `[batch, time, units]`, and no states."""
        dropping = training and self.recurrent_dropout
        other_type = self.in_float32_only and sequences.dtype != "float32"
        if not on_cpu_tensorflow or mask is not None or dropping or other_type:
            return super().inner_loop(sequences, initial_state, mask, training)  # type: ignore[misc]
        outputs = self.outputs(sequences, training)
        return outputs[:, -1], outputs, []

    def outputs(self, sequences: Tensor, training: bool) -> Tensor:
        """Returns `[batch, time, units]` for `[batch, time, features]`."""
        raise NotImplementedError


class LSTM(_OnProcessor, keras.layers.LSTM):
    """Hochreiter & Schmidhuber, Neural Computation 1997, with the forget gate of Gers et al. (2000), as in Keras."""

    in_float32_only = True  # the operation has neither bfloat16 nor float64

    def outputs(self, sequences: Tensor, training: bool) -> Tensor:
        """See `_OnProcessor`. In seven arrays of that size, also where no gradient is asked for."""
        inputs = swapped(sequences)
        weights = tf.concat([self.cell.kernel, self.cell.recurrent_kernel, tf.reshape(self.cell.bias, [1, -1])], 0)
        # It wants the candidate before the forget gate. `BlockLSTMV2` has Keras' order, but the gradient of this one.
        opening, forgetting, candidate, showing = tf.split(weights, 4, 1)
        weights = tf.concat([opening, candidate, forgetting, showing], 1)
        start, none = tf.zeros([tf.shape(inputs)[1], self.units]), tf.zeros([self.units])
        computed = tf.raw_ops.BlockLSTM(
            seq_len_max=tf.shape(inputs, tf.int64)[0],
            x=inputs,
            cs_prev=start,
            h_prev=start,
            w=weights[:-1],
            b=weights[-1],
            forget_bias=0.0,  # Keras has it in the bias
            cell_clip=-1.0,  # none
            **dict.fromkeys(("wci", "wcf", "wco"), none),  # peepholes, which it does not look at
        )
        return swapped(computed.h)


class _Loop(_OnProcessor):
    """What the others have in common: the loop over time, forwards and backwards.

    A layer says how a step goes on from its `gates`, the product of the rows `[input, last output, 1]`,
    one for each text of the batch, with its kernel, and how gradients go back from there. (Under plainer
    names than these the layers would lose `forward`, which is torch's.)

    To take the gates of rows apart copies them, but where they were rows themselves, whole sequences
    would be transposed on the way in and out, and that takes longer.
    """

    units: int
    saved: tuple[int, ...]
    """How many times `units` columns each tensor has that `step_forward` keeps for `step_backward`."""

    def outputs(self, sequences: Tensor, training: bool) -> Tensor:
        """See `_OnProcessor`."""
        return swapped(self._run(swapped(sequences), self.kernel(), keep=training))

    def kernel(self) -> Tensor:
        """Returns `[features + units + 1, gates]`: all weights of a step, the bias as the last row."""
        raise NotImplementedError

    def step_forward(self, gates: Tensor, old: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Returns the new output, and what `step_backward` needs."""
        raise NotImplementedError

    def step_backward(self, saved: tuple[Tensor, ...], gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the gradient of the gates, and that of the old output but for what comes through the gates."""
        raise NotImplementedError

    def _run(self, inputs: Tensor, kernel: Tensor, keep: bool) -> Tensor:
        """Returns the outputs `[time, batch, units]` for inputs `[time, batch, features]`.

        With `keep`, what a gradient needs is kept from the forward pass; without, which takes a small
        part of the memory, a gradient goes forward once more first.
        """
        features, units = inputs.shape[2], self.units

        def run(inputs: Tensor, kernel: Tensor) -> tuple[Tensor, Any]:
            time, batch = tf.shape(inputs)[0], tf.shape(inputs)[1]
            rounds = -(-time // STEPS)
            steps = rounds * STEPS  # those behind `time` see zeros, and nobody looks at what comes of them
            behind = [[0, steps - time], [0, 0], [0, 0]]
            zeros, one = tf.zeros([batch, units], inputs.dtype), tf.ones([batch, 1], inputs.dtype)
            array = partial(tf.TensorArray, inputs.dtype, steps, clear_after_read=False, infer_shape=False)
            given = array().unstack(tf.pad(inputs, behind))

            def forwards(keep: bool) -> Any:
                """The outputs, and what is kept: each step's rows, and what `step_forward` saves."""

                def onward(t: Tensor, output: Tensor, outputs: Any, kept: Any) -> Any:
                    for at in (t + step for step in range(STEPS)):
                        rows = tf.concat([given.read(at), output, one], 1)
                        output, saved = self.step_forward(tf.matmul(rows, kernel), output)
                        outputs = outputs.write(at, output)
                        if keep:
                            kept = tuple(
                                place.write(at, value) for place, value in zip(kept, (rows, *saved), strict=True)
                            )
                    return t + STEPS, output, outputs, kept

                start = (0, zeros, array(), tuple(array() for _ in (0, *self.saved)) if keep else ())
                _, _, *made = tf.while_loop(lambda t, *_: t < steps, onward, start, maximum_iterations=rounds)
                return made

            outputs, kept = forwards(keep)

            def gradient(of_outputs: Tensor) -> tuple[Tensor, Tensor]:
                all_rows, *saved = kept if keep else forwards(keep=True)[1]
                arriving, transposed = array().unstack(tf.pad(of_outputs, behind)), tf.transpose(kernel[:-1])

                def backward(t: Tensor, of_output: Tensor, of_kernel: Tensor, of_inputs: Any) -> Any:
                    for at in (t - step for step in range(STEPS)):
                        values = (
                            _read(place, at, times * units) for place, times in zip(saved, self.saved, strict=True)
                        )
                        of_gates, direct = self.step_backward(tuple(values), of_output + arriving.read(at))
                        rows = _read(all_rows, at, features + units + 1)
                        of_kernel += tf.matmul(rows, of_gates, transpose_a=True)
                        of_input, of_output = tf.split(tf.matmul(of_gates, transposed), [features, units], 1)
                        of_inputs = of_inputs.write(at, of_input)
                        of_output = of_output if direct is None else of_output + direct
                    return t - STEPS, of_output, of_kernel, of_inputs

                start = (steps - 1, zeros, tf.zeros_like(kernel), array())
                _, _, of_kernel, of_inputs = tf.while_loop(
                    lambda t, *_: t >= 0, backward, start, maximum_iterations=rounds
                )
                return of_inputs.stack()[:time], of_kernel

            return tf.ensure_shape(outputs.stack()[:time], [None, None, units]), gradient

        return tf.custom_gradient(run)(inputs, kernel)


class SimpleRNN(_Loop, keras.layers.SimpleRNN):
    """Elman, Cognitive Science 1990, as `keras.layers.SimpleRNN` computes it."""

    saved = (1,)

    def kernel(self) -> Tensor:
        """Columns: the one gate."""
        return _kernel(self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)

    def step_forward(self, gates: Tensor, old: Tensor) -> Any:
        """New output: tanh of the gate."""
        output = tf.tanh(gates)
        return output, (output,)

    def step_backward(self, saved: tuple[Tensor, ...], gradient: Tensor) -> Any:
        """See `step_forward`."""
        return tf.raw_ops.TanhGrad(y=saved[0], dy=gradient), None


class GRU(_Loop, keras.layers.GRU):
    """Cho et al., EMNLP 2014, with the reset after the product (as in cuDNN), which is Keras' default."""

    saved = (2, 1, 1, 1)

    def kernel(self) -> Tensor:
        """Columns: update and reset gate, and the candidate in two parts: what the input and what the output give."""
        kernel, recurrent, bias = self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias
        gates = 2 * self.units
        return tf.concat(
            [
                _kernel(kernel[:, :gates], recurrent[:, :gates], bias[0, :gates] + bias[1, :gates]),
                _kernel(kernel[:, gates:], tf.zeros_like(recurrent[:, gates:]), bias[0, gates:]),
                _kernel(tf.zeros_like(kernel[:, gates:]), recurrent[:, gates:], bias[1, gates:]),
            ],
            1,
        )

    def step_forward(self, gates: Tensor, old: Tensor) -> Any:
        """New output: update x old + (1 - update) x tanh(input's part + reset x output's part)."""
        opening, of_input, of_output = tf.split(gates, [2 * self.units, self.units, self.units], 1)
        opened = _sigmoid(opening)
        update, reset = tf.split(opened, 2, 1)
        candidate = tf.tanh(of_input + reset * of_output)
        return candidate + update * (old - candidate), (opened, of_output, candidate, old)

    def step_backward(self, saved: tuple[Tensor, ...], gradient: Tensor) -> Any:
        """See `step_forward`."""
        opened, of_output, candidate, old = saved
        update, reset = tf.split(opened, 2, 1)
        kept = gradient * update
        of_candidate = tf.raw_ops.TanhGrad(y=candidate, dy=gradient - kept)
        of_opened = tf.concat([gradient * (old - candidate), of_candidate * of_output], 1)
        of_gates = [tf.raw_ops.SigmoidGrad(y=opened, dy=of_opened), of_candidate, of_candidate * reset]
        return tf.concat(of_gates, 1), kept


def _read(place: Tensor, step: Tensor, columns: int) -> Tensor:
    return tf.ensure_shape(place.read(step), [None, columns])


def _kernel(kernel: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
    """Joins Keras' weights `[features, gates]`, `[units, gates]` and `[gates]`."""
    return tf.concat([kernel, recurrent, tf.reshape(bias, [1, -1])], 0)


def _sigmoid(gates: Tensor) -> Tensor:
    """TensorFlow's own takes twice as long as its tanh."""
    return 0.5 + 0.5 * tf.tanh(0.5 * gates)
