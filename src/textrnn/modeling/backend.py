"""Sets Keras' backend up for silent, repeatable work. Import it before anything that imports Keras.

One thread per operation: these matrices are too small for a second one to pay off, results do not depend on how many
trainings share the machine, and two trainings use two cores.
"""

import ctypes
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from textrnn.errors import TextrnnError, first_line
from textrnn.process import COMPUTING, cores

# Importing and tracing make a million objects that last: searching them for garbage is a fifth of the start-up time.
gc.set_threshold(100_000)

# glibc's malloc keeps freed memory for the next step, which needs as much. Getting it back from the system page by page
# takes a third of an LSTM's forward pass. Other C libraries have no `mallopt`.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # <malloc.h>
if hasattr(libc := ctypes.CDLL(None), "mallopt"):
    libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
    libc.mallopt(_MMAP_THRESHOLD, 1 << 25)  # the most that it accepts

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Trainings share a GPU: each takes memory as it needs it, with TensorFlow and with JAX.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.update(COMPUTING)
logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextmanager
def _isolated_import(*hidden: str) -> Iterator[None]:
    """Keeps an import of Keras from loading the modules `hidden`, and from reading or writing the user's `keras.json`.

    A third of Keras' import is for wrappers of installed libraries that nothing here uses.
    """
    names = [each for each in hidden if each not in sys.modules]
    home = os.environ.get("KERAS_HOME")
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    os.environ["KERAS_HOME"] = os.devnull
    try:
        yield
    finally:
        for each in names:
            del sys.modules[each]
        del os.environ["KERAS_HOME"]
        if home is not None:
            os.environ["KERAS_HOME"] = home


try:
    with _isolated_import("matplotlib", "sklearn"):
        import keras as keras  # for others, too; reads the variables above
except (ImportError, ValueError) as error:
    raise TextrnnError(
        f"KERAS_BACKEND={os.environ['KERAS_BACKEND']}: {first_line(error)}. Unset KERAS_BACKEND, which takes "
        "TensorFlow, or install that backend: `pip install -e '.[jax]'` or `'.[torch]'`."
    ) from error

# A program that imported Keras before may have set these.
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")

# bfloat16 has float32's range, so nothing overflows, and losses need no scaling as with float16.
PRECISIONS = ("float32", "mixed_bfloat16")
precision = os.environ.get("TEXTRNN_PRECISION", PRECISIONS[0])
if precision not in PRECISIONS:
    raise TextrnnError(f"TEXTRNN_PRECISION must be one of {', '.join(PRECISIONS)}. Received: {precision!r}.")
keras.config.set_dtype_policy(precision)

name = keras.config.backend()
if name == "tensorflow":
    import tensorflow as tensorflow  # for others, too

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    tensorflow.config.experimental.enable_op_determinism()
    # TF32, in which TensorFlow multiplies float32 on GPUs that have it, keeps 10 of 23 bits of a fraction.
    tensorflow.config.experimental.enable_tensor_float_32_execution(precision != PRECISIONS[0])
elif name == "torch":
    import torch

    torch.set_num_threads(1)
elif name == "jax":
    import jax


def _share_batches(devices: int) -> None:
    """Has each of so many devices compute its part of every batch, with a copy of the model (Keras' own distribution).

    A batch that cannot be cut into equal parts, as the last of an epoch, is computed whole by each of them.
    """

    class Shares(keras.distribution.DataParallel):
        def get_data_layout(self, data_shape: tuple[int, ...]) -> Any:
            if data_shape[0] % devices == 0:
                return super().get_data_layout(data_shape)
            return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)

    present = keras.distribution.list_devices() if name == "jax" else []
    if len(present) < devices:
        raise TextrnnError(
            f"TEXTRNN_DEVICES={devices}: Keras distributes a training with JAX alone (KERAS_BACKEND=jax, here {name}), "
            f"which sees {len(present)} devices. Lower it, or show JAX more of them."
        )
    keras.distribution.set_distribution(Shares(devices=present[:devices]))


wanted = os.environ.get("TEXTRNN_DEVICES", "1")
if not wanted.isdecimal() or int(wanted) < 1:
    raise TextrnnError(f"TEXTRNN_DEVICES must be a number of devices, 1 or more. Received: {wanted!r}.")
if int(wanted) > 1:
    _share_batches(int(wanted))

jit_compile = name == "jax"  # without it JAX takes a second per step; the others would compile for each batch shape
on_gpu_tensorflow = name == "tensorflow" and bool(tensorflow.config.list_physical_devices("GPU"))
on_cpu_tensorflow = name == "tensorflow" and not on_gpu_tensorflow

_IDS = (None, None), "int32"


def train_function(model: keras.Model, weighted: bool = False) -> Callable[..., dict[str, Any]]:
    """Returns the training step of a compiled `model`: from one batch to the metrics of the epoch so far.

    It takes ids `int32 [batch, time]` and targets `float32 [batch, classes]` of any size; if `weighted`, also the
    weight of each example's loss, `float32 [batch]`. TensorFlow traces it once; Keras' `train_on_batch` is traced again
    for several shapes. `fit` would feed it from a generator, for which TensorFlow has malloc return memory to the
    system at once: a third of a step then goes into getting it back.
    """
    if name == "tensorflow":
        weights = [((None,), "float32")] * weighted
        return _traced(lambda *batch: model.train_step(batch), _IDS, (model.output_shape, "float32"), *weights)
    return _eager_step(model)


def language_model_functions(model: keras.Model) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    """Returns the steps of a compiled language model in training and in evaluation, see `train_function`.

    They take ids `int32 [parts, texts, time]` with the words drawn, `int32 [samples]`, and targets like ids.
    """
    if name == "tensorflow":
        ids, drawn = ((None, None, None), "int32"), ((None,), "int32")
        inputs = (ids, drawn), ids
        return _traced(lambda *batch: model.train_step(batch), *inputs), _traced(
            lambda *batch: model.test_step(batch), *inputs
        )
    return _eager_step(model), _eager_step(model, model.test_on_batch)


def use_all_cores() -> None:
    """Lets operations that need nothing of each other run at once, each with one thread.

    It comes too late, and changes nothing, once TensorFlow has computed something.
    """
    if name == "tensorflow":
        with suppress(RuntimeError):
            tensorflow.config.threading.set_inter_op_parallelism_threads(cores())


def _eager_step(model: keras.Model, run: Callable[..., Any] | None = None) -> Callable[..., dict[str, Any]]:
    """Returns a step for backends that compile or run it themselves; `run` is Keras', by default `train_on_batch`."""
    random_states = [variable for variable in model.variables if variable.name == "seed_generator_state"]

    def step(inputs: Any, targets: Any, *weights: Any) -> dict[str, Any]:
        if name == "torch":
            # Keras takes most dropout masks from torch's own generator, which is in no checkpoint.
            states = [*random_states, model.optimizer.iterations]
            torch.manual_seed(sum(int(keras.ops.sum(state)) for state in states))
        # `train_on_batch` resets the counters, and all of them are sums.
        before = [keras.ops.convert_to_numpy(count) for count in model.metrics_variables]
        (run or model.train_on_batch)(inputs, targets, *weights)
        for count, value in zip(model.metrics_variables, before, strict=False):  # accuracy's come with the first step
            count.assign_add(value)
        metrics: dict[str, Any] = model.get_metrics_result()
        return metrics

    return step


def predict_function(model: keras.Model) -> Callable[[Any], Any]:
    """Returns the forward pass of `model`: from ids `int32 [batch, time]` of any size to logits `[batch, classes]`."""
    if name != "tensorflow":
        return lambda ids: model.predict_on_batch(ids)
    return _traced(lambda ids: model(ids, training=False), _IDS)


def gradient_function(embed: Callable[[Any], Any], loss: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Returns the function from `ids` and `labels` to the gradient of `loss(vectors, ids, labels)` by `embed(ids)`.

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

    if name == "torch":
        return with_torch
    if name == "jax":
        return lambda ids, labels: jax.grad(loss)(embed(ids), ids, labels)
    return _traced(with_tensorflow, _IDS, ((None,), "int32"))


def number(variable: Any) -> float:
    """Returns the value of a scalar variable or tensor."""
    return float(keras.ops.convert_to_numpy(variable))


def _traced(function: Callable[..., Any], *signature: Any) -> Callable[..., Any]:
    """Compiles `function` once with TensorFlow, for all arguments of these shapes and types, or tuples of such."""
    specs = [tuple(map(_spec, each)) if isinstance(each[0][0], tuple) else _spec(each) for each in signature]
    compiled: Callable[..., Any] = tensorflow.function(function, input_signature=specs, autograph=False)
    return compiled


def _spec(each: tuple[Any, str]) -> Any:
    return tensorflow.TensorSpec(*each)
