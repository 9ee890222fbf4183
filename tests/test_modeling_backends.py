"""One small experiment on each of Keras' backends, in mixed precision, and on a GPU: as on a processor with TensorFlow.

Each computes in a process of its own, since Keras chooses its backend when it is imported.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from child import environment
from tiny_experiments import make_experiment

pytestmark = pytest.mark.long

PROCESSOR = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", "TEXTRNN_PRECISION": "float32"}
MIXED = "mixed_bfloat16"
SHAPES: dict[str, dict[str, Any]] = {
    "lstm": {"optimizer": "adam", "gradient_clip": 0.5, "label_smoothing": 0.1, "readout": "concat"},
    "gru": {"optimizer": "rmsprop", "bidirectional": True, "readout": "max", "l2": 0.01},
    "simple_rnn": {
        "readout": "attention",
        "temporal_activation_regularization": 0.1,
        "optimizer": "adamw",
        "weight_decay": 0.5,
        "layer_rate_decay": 0.5,
    },
}
"""Without dropout, whose masks are each backend's own."""

FORWARDS, BACKWARDS = "CudnnRNNV3 float32", "CudnnRNNBackpropV3 float32"
ON_GPU = {
    "lstm": [[FORWARDS], [BACKWARDS, FORWARDS]],
    "gru": [[FORWARDS] * 2, [BACKWARDS] * 2 + [FORWARDS] * 2],
    "simple_rnn": [[], []],
}
"""What `cudnn_operations` finds on a GPU, in mixed precision, too. The GRU reads in both directions."""


def printed(function: str, *arguments: str, **variables: str) -> dict[str, Any]:
    """What a function of this module prints, as JSON, in a process with these environment variables."""
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"from {__name__} import {function}; {function}(*{arguments})"],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def report(saved: str) -> None:
    """Prints what the backend makes of the experiments here, and of a saved model."""
    from tiny_models import make_tokens

    from textrnn.modeling.backend import keras, predict_function
    from textrnn.modeling.batches import predict
    from textrnn.modeling.saved_model import load_model

    model, encoder, _ = load_model(Path(saved))
    texts = encoder.encode(pl.Series(["a good film", "bad", "a bad plot a film a good good plot"])).to_list()
    result = {
        "policy": keras.config.dtype_policy().name,
        "steps": {cell: losses_and_logits(cell) for cell in SHAPES},
        **(of_tensorflow() if keras.config.backend() == "tensorflow" else {}),
        "probabilities": predict(predict_function(model), make_tokens(texts, [0, 0, 0])).tolist(),
        "accuracy": learned_accuracy(),
    }
    print(json.dumps(result))


def of_tensorflow() -> dict[str, Any]:
    """Which of cuDNN's operations there are, and whether float32 is multiplied in TF32 on a GPU that has it."""
    import tensorflow as tf

    return {"cudnn": cudnn_operations(), "tf32": tf.config.experimental.tensor_float_32_execution_enabled()}


def report_with_a_gpu(recurrent_weight_dropout: str) -> None:
    """Prints what `cudnn_operations` finds where TensorFlow says that it sees a GPU. No graph runs."""
    import tensorflow as tf

    gpu = tf.config.LogicalDevice("pretended", "GPU")
    tf.config.list_physical_devices = tf.config.list_logical_devices = lambda device_type=None: [gpu]
    print(json.dumps(cudnn_operations(recurrent_weight_dropout=float(recurrent_weight_dropout))))


def build(cell: str, **changes: Any) -> Any:
    """A model with the same weights on every backend."""
    from tiny_models import make_embedding, scramble

    from textrnn.modeling.classifier import build_classifier

    model = build_classifier(make_experiment(cell=cell, **SHAPES[cell], **changes), make_embedding(), 2, seed=0)
    scramble(model)
    return model


def cudnn_operations(**changes: Any) -> dict[str, list[list[str]]]:
    """By cell, cuDNN's operations and their types: in the graph that scores, and in the one that trains."""
    from textrnn.modeling.backend import predict_function, train_function

    def of_cudnn(function: Any) -> list[str]:
        operations = function.get_concrete_function().graph.get_operations()
        return sorted(f"{each.type} {each.outputs[0].dtype.name}" for each in operations if "Cudnn" in each.type)

    models = {cell: build(cell, **changes) for cell in SHAPES}
    return {
        cell: [of_cudnn(make(model)) for make in (predict_function, train_function)] for cell, model in models.items()
    }


def losses_and_logits(cell: str) -> list[float]:
    """The loss so far after each of five steps from given weights, then the logits of some texts."""
    from tiny_models import LABELS, make_tokens

    from textrnn.modeling.backend import keras, predict_function, train_function

    model, tokens, targets = build(cell), make_tokens(), np.eye(2, dtype=np.float32)[LABELS]
    step = train_function(model)
    batches = [np.array(rows) for rows in ([0, 2, 4], [1, 3, 4], [0, 1, 2], [3, 2, 4], [4, 1, 0])]
    losses = [float(step(tokens.padded(rows), targets[rows])["loss"]) for rows in batches]
    logits = keras.ops.convert_to_numpy(predict_function(model)(tokens.padded(batches[0])))
    assert logits.dtype == np.float32
    return [*losses, *logits.ravel().tolist()]


def learned_accuracy() -> float:
    """How much of a test split a GRU gets right that learned from examples whether word 2 is in the text."""
    from textrnn.modeling.scores import accuracy

    splits, result = learned()
    return accuracy(splits["test"].labels, result.probabilities["test"])


def report_of_learning() -> None:
    """Prints the losses of each epoch, and how many devices hold the model."""
    _, result = learned(513)
    import jax

    losses = [[row["loss"], row["val_loss"]] for row in result.history]
    print(json.dumps({"losses": losses, "devices": max(len(each.devices()) for each in jax.live_arrays())}))


def learned(examples: int = 512) -> tuple[dict[str, Any], Any]:
    """The splits, and what a training with dropout and averaged weights makes of them."""
    from tiny_models import make_embedding, make_tokens

    from textrnn.modeling.training import Trainer

    rng = np.random.default_rng(0)
    splits = {}
    for split, size in {"train": examples, "valid": 64, "test": 512}.items():
        texts = [rng.integers(3, 20, 6 if row % 2 else 12) for row in range(size)]
        labels = rng.integers(0, 2, size)
        for text, label in zip(texts, labels, strict=True):
            text[rng.integers(len(text))] = 2 if label else 3
        splits[split] = make_tokens([text.tolist() for text in texts], labels.tolist())
    experiment = make_experiment(
        cell="gru", units=8, dropout=0.1, ema=0.5, learning_rate=0.02, batch_size=32, epochs=4, early_stopping=4
    )
    result = Trainer(experiment, splits, lambda seed: make_embedding(seed, words=20, dimension=8), 2).run(0)
    return splits, result


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as this process' backend, if nothing else is said TensorFlow, saves it."""
    from textrnn.modeling.saved_model import save_model
    from textrnn.text.encoder import TextEncoder
    from textrnn.text.vocabulary import Vocabulary

    folder = tmp_path_factory.mktemp("saved") / "model"
    vocabulary = Vocabulary(("<pad>", "<unk>", "good", "bad", "film", "a", "plot"))
    model = build("gru")
    experiment = make_experiment(cell="gru", **SHAPES["gru"])
    save_model(folder, experiment, TextEncoder(vocabulary, ("rotten", "fresh")), model, model.get_weights())
    return folder


@pytest.fixture(scope="module")
def expected(saved: Path) -> dict[str, Any]:
    """By TensorFlow, on a processor, in float32."""
    return printed("report", str(saved), **PROCESSOR)


def assert_alike(found: dict[str, Any], expected: dict[str, Any], values: float, probabilities: float) -> None:
    """Losses and logits agree to within `values`; what is learned is as good."""
    for cell in SHAPES:
        np.testing.assert_allclose(found["steps"][cell], expected["steps"][cell], rtol=0, atol=values, err_msg=cell)
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], rtol=0, atol=probabilities)
    assert expected["accuracy"] > 0.95
    assert found["accuracy"] == pytest.approx(expected["accuracy"], abs=0.02)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_computes_as_tensorflow_does(backend: str, saved: Path, expected: dict[str, Any]) -> None:
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install -e '.[{backend}]'")
    found = printed("report", str(saved), **{**PROCESSOR, "KERAS_BACKEND": backend})
    assert_alike(found, expected, values=1e-4, probabilities=1e-5)


def test_two_devices_learn_what_one_does() -> None:
    """Two that JAX makes of the processor. The last batch of an epoch, of one text, has no halves."""
    if find_spec("jax") is None:
        pytest.skip("jax is not installed: pip install -e '.[jax]'")
    on_jax = {**PROCESSOR, "KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    one, two = (printed("report_of_learning", **on_jax, TEXTRNN_DEVICES=devices) for devices in ("1", "2"))
    assert (one["devices"], two["devices"]) == (1, 2)
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=0, atol=1e-4)


def test_more_devices_than_there_are_are_refused() -> None:
    with pytest.raises(AssertionError, match=r"TEXTRNN_DEVICES=2: Keras distributes a training with JAX alone .* tens"):
        printed("report_of_learning", **PROCESSOR, TEXTRNN_DEVICES="2")
    with pytest.raises(AssertionError, match=r"must be a number of devices, 1 or more. Received: 'all'"):
        printed("report_of_learning", **PROCESSOR, TEXTRNN_DEVICES="all")


def test_mixed_precision_learns_as_much(saved: Path, expected: dict[str, Any]) -> None:
    found = printed("report", str(saved), **{**PROCESSOR, "TEXTRNN_PRECISION": MIXED})
    assert (found["policy"], expected["policy"]) == (MIXED, "float32")
    assert (found["tf32"], expected["tf32"]) == (True, False)
    assert all(found["steps"][cell] != expected["steps"][cell] for cell in SHAPES)
    assert_alike(found, expected, values=0.05, probabilities=0.02)


@pytest.mark.parametrize(
    ("precision", "recurrent_weight_dropout"), [("float32", "0"), (MIXED, "0"), ("float32", "0.5")]
)
def test_where_there_is_a_gpu_the_graphs_hold_cudnns_operations(precision: str, recurrent_weight_dropout: str) -> None:
    """Tested without one, too: to run a graph takes a GPU, to trace it does not."""
    found = printed("report_with_a_gpu", recurrent_weight_dropout, **{**PROCESSOR, "TEXTRNN_PRECISION": precision})
    assert found == ON_GPU


def test_where_there_is_none_they_do_not(expected: dict[str, Any]) -> None:
    assert expected["cudnn"] == {cell: [[], []] for cell in SHAPES}


@pytest.mark.parametrize(("precision", "values"), [("float32", 1e-4), (MIXED, 0.05)])
def test_a_gpu_computes_with_cudnn_and_learns_as_much(
    precision: str, values: float, saved: Path, expected: dict[str, Any]
) -> None:
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees no GPU: on a machine with one, pip install -e '.[gpu]' in place of '.[cpu]'")
    found = printed("report", str(saved), KERAS_BACKEND="tensorflow", TEXTRNN_PRECISION=precision)
    assert found["cudnn"] == ON_GPU
    assert_alike(found, expected, values=values, probabilities=0.02)


def test_an_unknown_precision_is_refused(saved: Path) -> None:
    with pytest.raises(AssertionError, match=rf"TEXTRNN_PRECISION must be one of float32, {MIXED}\. Received: 'x'"):
        printed("report", str(saved), **{**PROCESSOR, "TEXTRNN_PRECISION": "x"})
