"""Sets Keras' backend up for silent, repeatable work: imported before anything that imports Keras.

One thread per operation: the matrices here are small enough that a second thread costs more than
it brings, results do not depend on how many trainings share the machine, and two trainings side by
side use two cores.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from textrnn.errors import TextrnnError
from textrnn.process import COMPUTING

# Importing and tracing make a million objects that last: searching them for garbage is a fifth of a start.
gc.set_threshold(100_000)


def _keep_freed_memory() -> None:
    """Has glibc's malloc keep what is freed, for the next step, which needs as much: to have it back from the
    system page by page takes a third of an LSTM's forward pass. Other libraries of C know no `mallopt`.
    """
    trim_threshold, mmap_threshold = -1, -3  # <malloc.h>
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(trim_threshold, 1 << 30)
        mallopt(mmap_threshold, 1 << 25)  # the most that it accepts


_keep_freed_memory()
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Trainings side by side share a GPU: each takes memory as it needs it, with TensorFlow and with JAX.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.update(COMPUTING)
logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextmanager
def _hidden(*modules: str) -> Iterator[None]:
    """Keeps an import from loading `modules` just because they are installed."""
    names = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


@contextmanager
def _without_keras_json() -> Iterator[None]:
    """Keeps an import of Keras from reading the user's `keras.json`, and from writing one."""
    home = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = os.devnull
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
        if home is not None:
            os.environ["KERAS_HOME"] = home


try:
    # A third of Keras' import is for wrappers that nothing here uses.
    with _hidden("matplotlib", "sklearn"), _without_keras_json():
        import keras  # reads the variables above
except (ImportError, ValueError) as error:
    reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    raise TextrnnError(
        f"KERAS_BACKEND={os.environ['KERAS_BACKEND']}: {reason}. Unset KERAS_BACKEND, which takes TensorFlow, or "
        "install that backend: `pip install -e '.[jax]'` or `'.[torch]'`."
    ) from error

# A program that had imported Keras before may have set these.
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")

# bfloat16 has float32's range, so nothing overflows and losses need no scaling, as they would with float16.
PRECISIONS = ("float32", "mixed_bfloat16")
precision = os.environ.get("TEXTRNN_PRECISION", PRECISIONS[0])
if precision not in PRECISIONS:
    raise TextrnnError(f"TEXTRNN_PRECISION must be one of {', '.join(PRECISIONS)}. Received: {precision!r}.")
keras.config.set_dtype_policy(precision)

if keras.config.backend() == "tensorflow":
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    tensorflow.config.experimental.enable_op_determinism()
    # TF32, in which TensorFlow multiplies float32 on GPUs that have it, keeps 10 bits of a fraction's 23.
    tensorflow.config.experimental.enable_tensor_float_32_execution(precision != PRECISIONS[0])
elif keras.config.backend() == "torch":
    import torch

    torch.set_num_threads(1)
elif keras.config.backend() == "jax":
    import jax

# Without it JAX takes a second for a step. It compiles for each shape of a batch, and so would the others.
jit_compile = keras.config.backend() == "jax"

# Whether TensorFlow computes, with a GPU and without.
on_gpu_tensorflow = keras.config.backend() == "tensorflow" and bool(tensorflow.config.list_physical_devices("GPU"))
on_cpu_tensorflow = keras.config.backend() == "tensorflow" and not on_gpu_tensorflow

__all__ = [
    "fused_adam",
    "gradient_function",
    "jit_compile",
    "keras",
    "on_cpu_tensorflow",
    "on_gpu_tensorflow",
    "predict_function",
    "train_function",
]


def train_function(model: keras.Model) -> Callable[[Any, Any], dict[str, Any]]:
    """Returns the training step of a compiled `model`: from one batch to the metrics of the epoch so far.

    It takes ids `int32 [batch, time]` and one-hot targets `float32 [batch, classes]` of any size. With
    TensorFlow it is traced once, where Keras' `train_on_batch` is traced anew for each of the first
    shapes. And `fit` would feed it from a generator, on whose account TensorFlow tells malloc to
    return memory to the system at once: a third of a step then goes into getting it back.
    """
    if keras.config.backend() == "tensorflow":
        specs = tensorflow.TensorSpec((None, None), "int32"), tensorflow.TensorSpec(model.output_shape, "float32")
        return _traced(lambda *batch: model.train_step(batch), *specs)
    random_states = [variable for variable in model.variables if variable.name == "seed_generator_state"]

    def step(ids: Any, targets: Any) -> dict[str, Any]:
        if keras.config.backend() == "torch":
            # There Keras takes most dropout masks from torch's own generator, of which no checkpoint knows.
            states = [*random_states, model.optimizer.iterations]
            torch.manual_seed(sum(int(keras.ops.sum(state)) for state in states))
        # It starts to count anew with every batch, and all that is counted here are sums.
        before = [keras.ops.convert_to_numpy(count) for count in model.metrics_variables]
        model.train_on_batch(ids, targets)
        for count, value in zip(model.metrics_variables, before, strict=False):  # accuracy's come with the first step
            count.assign_add(value)
        metrics: dict[str, Any] = model.get_metrics_result()
        return metrics

    return step


def predict_function(model: keras.Model) -> Callable[[Any], Any]:
    """Returns the forward pass of `model`: from ids `int32 [batch, time]` of any size to logits `[batch, classes]`."""
    if keras.config.backend() != "tensorflow":
        return lambda ids: model.predict_on_batch(ids)
    return _traced(lambda ids: model(ids, training=False), tensorflow.TensorSpec((None, None), "int32"))


def gradient_function(embed: Callable[[Any], Any], loss: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Returns what makes of `ids` and `labels` the gradient of `loss(vectors, ids, labels)` by `vectors = embed(ids)`.

    They are `int32 [batch, time]` and `int32 [batch]`, of any size. Keras has no gradients of its own.
    """

    def with_tensorflow(ids: Any, labels: Any) -> Any:
        vectors = embed(ids)
        with tensorflow.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(vectors)
            total = loss(vectors, ids, labels)
        return tape.gradient(total, vectors)

    def with_torch(ids: Any, labels: Any) -> Any:
        vectors = embed(ids).detach().requires_grad_()
        return torch.autograd.grad(loss(vectors, ids, labels), vectors)[0]

    if keras.config.backend() == "torch":
        return with_torch
    if keras.config.backend() == "jax":
        return lambda ids, labels: jax.grad(loss)(embed(ids), ids, labels)
    specs = tensorflow.TensorSpec((None, None), "int32"), tensorflow.TensorSpec((None,), "int32")
    return _traced(with_tensorflow, *specs)


def fused_adam(
    variable: Any,
    momentum: Any,
    velocity: Any,
    gradient: Any,
    learning_rate: Any,
    step: Any,
    adam: keras.optimizers.Adam,
) -> bool:
    """Updates `variable` and its moments in step number `step` (from 1 on), if the backend has one operation for it.

    Keras' own update is the same arithmetic in a dozen operations, each a pass over memory: for an
    embedding matrix that takes longer than the recurrence does.
    """
    if keras.config.backend() != "tensorflow":
        return False
    count = keras.ops.cast(step, variable.dtype)
    tensorflow.raw_ops.ResourceApplyAdam(
        **{name: _handle(value) for name, value in {"var": variable, "m": momentum, "v": velocity}.items()},
        beta1_power=keras.ops.power(keras.ops.cast(adam.beta_1, variable.dtype), count),
        beta2_power=keras.ops.power(keras.ops.cast(adam.beta_2, variable.dtype), count),
        lr=keras.ops.cast(learning_rate, variable.dtype),
        beta1=adam.beta_1,
        beta2=adam.beta_2,
        epsilon=adam.epsilon,
        grad=gradient,
    )
    return True


def _handle(variable: Any) -> Any:
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


def _traced(function: Callable[..., Any], *signature: Any) -> Callable[..., Any]:
    """Compiles `function` once for all arguments as `signature`, TensorFlow's specifications, says."""
    compiled: Callable[..., Any] = tensorflow.function(function, input_signature=signature, autograph=False)
    return compiled
