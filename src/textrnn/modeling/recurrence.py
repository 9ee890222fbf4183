"""Keras' recurrent layers, with a faster loop over time for TensorFlow on a CPU.

Weights, their names and the function are Keras'; only the loop differs. Keras leaves the backward pass to automatic
differentiation, which reverses every small operation of a step and keeps a stack for each. TensorFlow has an LSTM as
one operation with a gradient. The other cells have a loop of our own here: a step is one matrix product forwards, two
backwards, and a few operations on their results. Row `loop` of `reports/benchmarks.md` measures the gain.

Keras' loop runs with recurrent dropout in training, on a GPU (cuDNN), on other backends, and for an LSTM in another
precision than float32.

A layer with `return_state` starts from the state that it is given and returns its last one, as Keras' do. No gradient
reaches the given state: backpropagation is truncated there (Williams & Peng, Neural Computation 1990).
"""

from functools import partial
from typing import Any

from textrnn.modeling.backend import keras, on_cpu_tensorflow
from textrnn.modeling.layers import time_major

if on_cpu_tensorflow:
    import tensorflow as tf

Tensor = Any
States = list[Tensor]
STEPS = 4  # steps per round of TensorFlow's loop: the overhead of a round is as much as a short step


class _FastLoop:
    """Replaces Keras' loop where it can.

    `recurrent_weight_dropout` is the share of the recurrent kernel that each training batch does without: DropConnect
    (Wan et al., ICML 2013) as in Merity et al. (ICLR 2018). What stays is scaled by 1 / (1 - share); scoring takes all.
    """

    cell: Any
    recurrent_dropout: float
    return_state: bool
    in_float32_only = False

    def __init__(self, *args: Any, recurrent_weight_dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.recurrent_weight_dropout = recurrent_weight_dropout
        if recurrent_weight_dropout:  # otherwise it would take a seed, and weights made later would be others
            self.weight_seeds = keras.random.SeedGenerator()

    def inner_loop(self, sequences: Tensor, initial_state: Tensor, mask: Tensor, training: bool = False) -> Any:
        """Overrides Keras': any loop finds the recurrent kernel of this batch where Keras has the whole one."""
        if not (training and self.recurrent_weight_dropout):
            return self._loop(sequences, initial_state, mask, training)
        kernel = self.cell.recurrent_kernel
        whole = keras.ops.convert_to_tensor(kernel)
        self.cell.recurrent_kernel = keras.random.dropout(whole, self.recurrent_weight_dropout, seed=self.weight_seeds)
        try:
            return self._loop(sequences, initial_state, mask, training)
        finally:
            self.cell.recurrent_kernel = kernel

    def _loop(self, sequences: Tensor, initial_state: Tensor, mask: Tensor, training: bool) -> Any:
        """The last output, all outputs `[batch, time, units]`, and the last states.

        Without `return_state` it starts from zeros, and returns no states.
        """
        drops = training and self.recurrent_dropout
        other_type = self.in_float32_only and sequences.dtype != "float32"
        if not on_cpu_tensorflow or mask is not None or drops or other_type:
            return super().inner_loop(sequences, initial_state, mask, training)  # type: ignore[misc]
        start = initial_state if self.return_state else None
        outputs, states = self.outputs(time_major(sequences), start, training)
        outputs = time_major(outputs)
        return outputs[:, -1], outputs, states

    def outputs(self, inputs: Tensor, start: States | None, training: bool) -> tuple[Tensor, States]:
        """Returns `[time, batch, units]` for `[time, batch, features]`, and the last states if there is a `start`.

        States are `[batch, units]`, in Keras' order.
        """
        raise NotImplementedError


class LSTM(_FastLoop, keras.layers.LSTM):
    """Hochreiter & Schmidhuber, Neural Computation 1997, with the forget gate of Gers et al. (2000), as in Keras."""

    in_float32_only = True  # TensorFlow's operation supports neither bfloat16 nor float64

    def outputs(self, inputs: Tensor, start: States | None, training: bool) -> tuple[Tensor, States]:
        """See `_FastLoop`. It takes seven arrays of the outputs' size, also without a gradient."""
        weights = _stack(self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)
        # Its order has the candidate before the forget gate. `BlockLSTMV2` has Keras' order, but a gradient for this.
        let_in, forget, candidate, let_out = tf.split(weights, 4, 1)
        weights = tf.concat([let_in, candidate, forget, let_out], 1)
        zeros, unused = tf.zeros([tf.shape(inputs)[1], self.units]), tf.zeros([self.units])
        output, memory = (zeros, zeros) if start is None else map(tf.stop_gradient, start)
        done = tf.raw_ops.BlockLSTM(
            seq_len_max=tf.shape(inputs, tf.int64)[0],
            x=inputs,
            cs_prev=memory,
            h_prev=output,
            w=weights[:-1],
            b=weights[-1],
            forget_bias=0.0,  # Keras has it in the bias
            cell_clip=-1.0,  # none
            **dict.fromkeys(("wci", "wcf", "wco"), unused),  # peepholes
        )
        return done.h, [] if start is None else [done.h[-1], done.cs[-1]]


class _OwnLoop(_FastLoop):
    """The loop over time of the other cells, forwards and backwards.

    A cell defines a step by its `gates`, the product of the rows `[input, last output, 1]` of the batch with `kernel`,
    and the gradient of that step. (Methods named `forward` and `backward` would hide torch's.) Splitting the gates
    copies them; gates as rows would need whole sequences transposed, which takes longer.
    """

    units: int
    saved: tuple[int, ...]  # the width, in `units`, of each tensor that `step_forward` keeps for `step_backward`

    def kernel(self) -> Tensor:
        """Returns `[features + units + 1, gates]`: all weights of a step, the bias as the last row."""
        raise NotImplementedError

    def step_forward(self, gates: Tensor, old: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Returns the new output, and what `step_backward` needs."""
        raise NotImplementedError

    def step_backward(self, saved: tuple[Tensor, ...], gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the gradients of the gates and of the old output, without the part that comes through the gates."""
        raise NotImplementedError

    def outputs(self, inputs: Tensor, start: States | None, training: bool) -> tuple[Tensor, States]:
        """See `_FastLoop`. Outside training, where memory counts more, a gradient repeats the forward pass first."""
        features, units = inputs.shape[2], self.units

        def run(inputs: Tensor, kernel: Tensor) -> tuple[Tensor, Any]:
            time, batch = tf.shape(inputs)[0], tf.shape(inputs)[1]
            rounds = -(-time // STEPS)
            steps = rounds * STEPS  # those after `time` see zeros, and their results are not used
            padding = [[0, steps - time], [0, 0], [0, 0]]
            zeros, one = tf.zeros([batch, units], inputs.dtype), tf.ones([batch, 1], inputs.dtype)
            first = zeros if start is None else start[0]
            array = partial(tf.TensorArray, inputs.dtype, steps, clear_after_read=False, infer_shape=False)
            given = array().unstack(tf.pad(inputs, padding))

            def forward(keep: bool) -> Any:
                """The outputs; and what is kept: each step's rows, and what `step_forward` saves."""

                def body(t: Tensor, output: Tensor, outputs: Any, kept: Any) -> Any:
                    for at in (t + step for step in range(STEPS)):
                        rows = tf.concat([given.read(at), output, one], 1)
                        output, saved = self.step_forward(tf.matmul(rows, kernel), output)
                        outputs = outputs.write(at, output)
                        if keep:
                            kept = tuple(
                                each.write(at, value) for each, value in zip(kept, (rows, *saved), strict=True)
                            )
                    return t + STEPS, output, outputs, kept

                begin = (0, first, array(), tuple(array() for _ in (0, *self.saved)) if keep else ())
                return tf.while_loop(lambda t, *_: t < steps, body, begin, maximum_iterations=rounds)[2:]

            outputs, kept = forward(keep=training)

            def gradient(of_outputs: Tensor) -> tuple[Tensor, Tensor]:
                all_rows, *saved = kept if training else forward(keep=True)[1]
                arriving, transposed = array().unstack(tf.pad(of_outputs, padding)), tf.transpose(kernel[:-1])

                def body(t: Tensor, of_output: Tensor, of_kernel: Tensor, of_inputs: Any) -> Any:
                    for at in (t - step for step in range(STEPS)):
                        values = [_read(each, at, width * units) for each, width in zip(saved, self.saved, strict=True)]
                        of_gates, direct = self.step_backward(tuple(values), of_output + arriving.read(at))
                        rows = _read(all_rows, at, features + units + 1)
                        of_kernel += tf.matmul(rows, of_gates, transpose_a=True)
                        of_input, of_output = tf.split(tf.matmul(of_gates, transposed), [features, units], 1)
                        of_inputs = of_inputs.write(at, of_input)
                        of_output = of_output if direct is None else of_output + direct
                    return t - STEPS, of_output, of_kernel, of_inputs

                begin = (steps - 1, zeros, tf.zeros_like(kernel), array())
                done = tf.while_loop(lambda t, *_: t >= 0, body, begin, maximum_iterations=rounds)
                return done[3].stack()[:time], done[2]

            return tf.ensure_shape(outputs.stack()[:time], [None, None, units]), gradient

        outputs = tf.custom_gradient(run)(inputs, self.kernel())
        return outputs, [] if start is None else [outputs[-1]]


class SimpleRNN(_OwnLoop, keras.layers.SimpleRNN):
    """Elman, Cognitive Science 1990, as `keras.layers.SimpleRNN` computes it."""

    saved = (1,)

    def kernel(self) -> Tensor:
        """Columns: the one gate."""
        return _stack(self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)

    def step_forward(self, gates: Tensor, old: Tensor) -> Any:
        """New output: tanh of the gate."""
        output = tf.tanh(gates)
        return output, (output,)

    def step_backward(self, saved: tuple[Tensor, ...], gradient: Tensor) -> Any:
        """See `step_forward`."""
        return tf.raw_ops.TanhGrad(y=saved[0], dy=gradient), None


class GRU(_OwnLoop, keras.layers.GRU):
    """Cho et al., EMNLP 2014, with the reset after the product (as in cuDNN), which is Keras' default."""

    saved = (2, 1, 1, 1)

    def kernel(self) -> Tensor:
        """Columns: update and reset gate, then the candidate in two parts, from the input and from the old output."""
        kernel, recurrent, bias = self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias
        gates = 2 * self.units
        return tf.concat(
            [
                _stack(kernel[:, :gates], recurrent[:, :gates], bias[0, :gates] + bias[1, :gates]),
                _stack(kernel[:, gates:], tf.zeros_like(recurrent[:, gates:]), bias[0, gates:]),
                _stack(tf.zeros_like(kernel[:, gates:]), recurrent[:, gates:], bias[1, gates:]),
            ],
            1,
        )

    def step_forward(self, gates: Tensor, old: Tensor) -> Any:
        """New output: update x old + (1 - update) x tanh(input's part + reset x output's part)."""
        opening, of_input, of_output = tf.split(gates, [2 * self.units, self.units, self.units], 1)
        opened = 0.5 + 0.5 * tf.tanh(0.5 * opening)  # sigmoid; TensorFlow's own takes twice as long as its tanh
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


CELLS = {"simple_rnn": SimpleRNN, "lstm": LSTM, "gru": GRU}


def _read(array: Tensor, step: Tensor, columns: int) -> Tensor:
    return tf.ensure_shape(array.read(step), [None, columns])


def _stack(kernel: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
    """Stacks Keras' weights `[features, gates]`, `[units, gates]` and `[gates]`."""
    return tf.concat([kernel, recurrent, tf.reshape(bias, [1, -1])], 0)
