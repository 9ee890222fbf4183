"""How well each language model of a study predicts the validation texts, and what it took."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from textrnn.embeddings.pretrained import PretrainedFolder

COLUMNS = (
    *("language_model", "target", "cell", "units", "layers", "direction", "embedding", "texts", "tokens", "epochs"),
    *("train_loss", "perplexity", "bits_per_word", "valid_tokens", "parameters", "flops"),
)


def language_models(models: Sequence[PretrainedFolder]) -> pd.DataFrame:
    """Returns a row per language model, after its last epoch.

    Columns: `language_model` (its name), `target`, `cell`, `units`, `layers`, `direction` (`forward`, `backward`,
    `both`), `embedding` (that it started from), `texts` (without regard to labels) and `tokens` (read in an epoch),
    `epochs`, `train_loss` (nats per word; with sampled words an estimate), `perplexity` and `bits_per_word` (of the
    `valid_tokens` predicted validation words, unknown ones included; both of the scores of all words), `parameters` and
    `flops`. An autoencoder's perplexity is that of writing down what it has read, which is far lower.
    """
    return pd.DataFrame([_row(model) for model in models], columns=COLUMNS)


def _row(model: PretrainedFolder) -> dict[str, object]:
    params, last = model.params, model.history[-1]
    return {
        "language_model": model.name,
        **{key: params[key] for key in ("target", "cell", "units", "layers", "embedding")},
        "direction": "both" if params["bidirectional"] else "backward" if params["reverse"] else "forward",
        "texts": model.texts,
        "tokens": model.tokens,
        "epochs": len(model.history),
        "train_loss": last["loss"],
        "perplexity": last["perplexity"],
        "bits_per_word": last["val_loss"] / math.log(2),
        "valid_tokens": model.valid_tokens,
        "parameters": model.parameters,
        "flops": model.flops,
    }
