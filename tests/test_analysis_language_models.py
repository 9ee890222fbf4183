"""The table of language models, from their folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from textrnn.analysis.language_models import COLUMNS, language_models
from textrnn.config.pretraining import Pretraining
from textrnn.embeddings.pretrained import Pretrained, PretrainedFolder, read_layers, write_pretrained


def make_model(folder: Path, name: str, **settings: bool) -> PretrainedFolder:
    params = Pretraining(embedding="glove", units=3, **settings).model_dump()
    about = Pretrained(name, params, {}, "", 55, 1e9, 6, 16, 10, {"texts": 0, "tokens": 0})
    rates = {"learning_rate": 0.1, "gradient_norm": 1.0}
    history = [
        {"epoch": epoch, "loss": 3.0, "val_loss": loss, "perplexity": np.exp(loss), **rates}
        for epoch, loss in ((1, 5.0), (2, 2 * np.log(2)))
    ]
    (folder / name).mkdir()
    write_pretrained(folder / name, about, history, [np.full((3, 2), float(place)) for place in range(12)])
    return PretrainedFolder.load(folder / name)


def test_a_row_holds_the_last_epoch(tmp_path: Path) -> None:
    models = [make_model(tmp_path, "lm"), make_model(tmp_path, "back", reverse=True)]
    table = language_models([*models, make_model(tmp_path, "both", bidirectional=True)])
    assert tuple(table.columns) == COLUMNS
    assert table["direction"].tolist() == ["forward", "backward", "both"]
    first = table.iloc[0].to_dict()
    assert first["bits_per_word"] == pytest.approx(2)
    assert first["perplexity"] == pytest.approx(4)
    about = ("language_model", "cell", "units", "layers", "embedding", "texts", "tokens", "epochs", "valid_tokens")
    assert [first[key] for key in about] == ["lm", "lstm", 3, 1, "glove", 6, 16, 2, 10]


def test_layers_come_back_in_their_order(tmp_path: Path) -> None:
    model = make_model(tmp_path, "lm")
    assert [int(array[0, 0]) for array in read_layers(model.path)] == list(range(12))


def test_without_language_models_the_table_is_empty() -> None:
    assert language_models([]).empty
