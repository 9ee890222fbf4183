"""The report on made-up results, before anything trains: can it be drawn and written for this corpus?

Names of classes, words and texts are those of the corpus. Only what training would add is made up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from textrnn.analysis.data_size import lines
from textrnn.analysis.explanations import DELETION, MISTAKES
from textrnn.config.experiment import Experiment
from textrnn.config.params import Params
from textrnn.config.pretraining import Pretraining
from textrnn.config.search import Search
from textrnn.embeddings.matrix import Embedding
from textrnn.embeddings.pretrained import COLUMNS, Pretrained, write_pretrained
from textrnn.modeling.attributions import Explanation, Word
from textrnn.modeling.deletion import SHARES, deletion_rows
from textrnn.modeling.model_files import EMBEDDING, Member, write_ensemble
from textrnn.report import run_report, study
from textrnn.run_folder import HELD_OUT, HISTORY_COLUMNS, Run, RunFolder, prediction_rows, write_run
from textrnn.search.halving import Halving, Task, Training
from textrnn.search.result import write as write_search
from textrnn.search.winner import search_folder, with_winners
from textrnn.text.encoder import TextEncoder
from textrnn.text.vocabulary import UNKNOWN, Vocabulary

ROWS, SEEDS, EPOCHS, DISTANCES, TRIALS = 120, 2, 2, 12, 6
"""How much is made up: texts of a split, seeds, epochs, distances from a text's end, and trials of a search."""

COVERED, DIMENSION = 2000, 4
"""How many of the most frequent words have a vector, and its dimension."""


def rehearse(params: Params, corpus: Path, tokens: Path) -> None:
    """Writes the report of a few of the study's runs, and the MLflow artifacts of one, into a scratch folder.

    Args:
        corpus, tokens: the folders that the stages `prepare_corpus` and `encode_corpus` have written.

    Raises:
        TextrnnError: the report cannot be made of them.
    """
    few = _few(params, pl.read_parquet(tokens / "train.parquet", columns=["label"])["label"].count())
    encoder = TextEncoder.load(tokens)
    rows = pl.int_range(pl.len()).over("label") < max(ROWS // len(encoder.classes), 1)
    splits = {
        split: pl.read_parquet(tokens / f"{split}.parquet", columns=["id", "ids", "label"]).filter(rows)
        for split in ("valid", "test")
    }
    with TemporaryDirectory() as scratch:
        folders = [Path(scratch, name) for name in ("runs", "embeddings", "report", "mlflow")]
        for folder in folders:
            folder.mkdir()
        runs, embeddings, report, mlflow = folders
        for name, search in few.searches.items():
            _write_search(search_folder(runs, name), name, search, few.experiments[search.start])
        few = with_winners(few, runs)
        for name, embedding in few.embeddings.items():
            _write_embedding(embeddings / name, encoder.vocabulary, embedding.source)
        for name, model in few.pretraining.items():
            _write_embedding(embeddings / name, encoder.vocabulary, model.embedding)
            _write_pretrained(embeddings / name, model)
        for name in few.runs:
            _write_run(runs / name, few, encoder, splits)
        for name in few.probes:
            (probe := runs / f"probe@{name}").mkdir()
            _gradients(few.seeds, splits["valid"]["id"]).write_parquet(probe / "gradients.parquet")
        for name in few.explanations:
            (folder := runs / f"explain@{name}").mkdir()
            _write_explanations(folder, few.seeds, splits["valid"], encoder)
        study.write(report, few, study.Folders(runs, corpus, tokens, embeddings), ())
        read = splits["valid"].select("id", tokens=pl.col("ids").list.len())
        texts = pl.read_parquet(corpus / "valid.parquet", columns=["id", "text"]).join(read, on="id")
        run_report.write(mlflow, RunFolder.load(runs / next(iter(few.experiments))), texts)


def _few(params: Params, texts: int) -> Params:
    """The study with two seeds, one search, one ensemble, and only experiments that add something new to the report.

    Among them are two lines of experiments that differ in their number of training texts, of which there are `texts`.
    """
    chosen = {name: params.experiments[name] for line in lines(params, texts)[:2] for name in line.experiments.values()}
    known: set[tuple[str, object]] = set()
    for name in dict.fromkeys([*params.probes, *params.experiments]):
        experiment = params.experiments[name]
        learned = experiment.trainable_embedding and params.is_drawn(experiment.embedding)
        adds = {
            ("cell", experiment.cell),
            ("trained", experiment.trainable_embedding),
            ("learned", learned),
            ("held out", experiment.held_out > 0),
            ("refit", experiment.refit),
        }
        if not adds <= known:
            chosen[name] = experiment
            known |= adds
    probes = [name for name in params.probes if name in chosen]
    few = {"trials": TRIALS, "batch": TRIALS, "rungs": 1, "seeds": [1]}
    searches = {name: search.model_copy(update=few) for name, search in list(params.searches.items())[:1]}
    chosen |= {search.start: params.experiments[search.start] for search in searches.values()}
    chosen |= {name: params.experiments[name] for name in list(params.explanations)[:1] if name in params.experiments}
    ensembles = dict(list(params.ensembles.items())[:1])
    runs = {*chosen, *searches, *params.baselines, *ensembles}
    update = {
        "experiments": chosen,
        "probes": probes,
        "explanations": {name: each for name, each in params.explanations.items() if name in runs},
        "searches": searches,
        "ensembles": ensembles,
        "seeds": params.seeds[:SEEDS],
    }
    return params.model_copy(update=update)


def _write_embedding(folder: Path, vocabulary: Vocabulary, source: str) -> None:
    covered = np.arange(UNKNOWN + 1, min(len(vocabulary), 1 if source == "random" else COVERED))
    vectors = np.random.default_rng(0).standard_normal((len(covered), DIMENSION), dtype=np.float32)
    embedding = Embedding.build(vocabulary, vectors, covered)
    folder.mkdir()
    embedding.save(folder, {"source": source, **embedding.coverage(vocabulary, np.ones(len(vocabulary), np.int64))})


def _write_pretrained(folder: Path, model: Pretraining) -> None:
    """Adds what makes a language model of the embedding in `folder`."""
    about = Pretrained(folder.name, model.model_dump(), {}, "", 1, 1.0, 1, 1, 1, {"texts": 0, "tokens": 0})
    write_pretrained(folder, about, [dict.fromkeys(COLUMNS, 1)], [])


def _write_run(folder: Path, params: Params, encoder: TextEncoder, splits: Mapping[str, pl.DataFrame]) -> None:
    """Writes the run folder of an experiment, a baseline or an ensemble, as if it had been trained."""
    experiment, ensemble = params.experiments.get(folder.name), params.ensembles.get(folder.name)
    settings = experiment or ensemble or params.baselines[folder.name]
    run = Run(
        name=folder.name,
        kind="experiment" if experiment else "ensemble" if ensemble else "baseline",
        params=settings.model_dump(exclude_none=experiment is None),
        seeds=params.seeds if experiment else [0],
        classes=list(encoder.classes),
        inputs={},
        fingerprint="",
        parameters={"total": 1, "trainable": 1},
        flops={"training": 1.0, "prediction": 1.0},
        truncated={split: {"texts": 1, "tokens": 1} for split in splits} if experiment else {},
        unknown={key: {"tokens": 1, "unknown": 0, "texts": 0} for key in ("train", *splits)} if experiment else {},
    )
    draw = np.random.default_rng([*folder.name.encode()])  # other numbers for each run
    predictions, history = [], list[dict[str, Any]]()
    measures = [*HISTORY_COLUMNS[2:], *([HELD_OUT] if run.params.get("held_out") else [])]
    for seed in run.seeds:
        for split, rows in splits.items():
            guesses = draw.dirichlet(np.ones(len(run.classes)), len(rows))
            predictions.append(prediction_rows(seed, split, rows["id"].to_list(), rows["label"].to_numpy(), guesses))
        if run.params.get("trainable_embedding"):
            vectors = draw.standard_normal((len(encoder.vocabulary), DIMENSION), dtype=np.float32)
            (model := folder / "model" / str(seed)).mkdir(parents=True)
            np.savez(model / "weights.npz", allow_pickle=False, **{EMBEDDING: vectors})
        for epoch in range(1, 1 + EPOCHS) if experiment else ():
            history.append({"seed": seed, "epoch": epoch, **dict.fromkeys(measures, 0.5 + 0.1 * epoch)})
    folder.mkdir(exist_ok=True)
    if ensemble:
        (model := folder / "model" / "0").mkdir(parents=True)
        write_ensemble(model, [Member(name, 1 / len(ensemble.of), run.seeds) for name in ensemble.of])
    write_run(folder, run, predictions, history)


def _write_search(folder: Path, name: str, search: Search, start: Experiment) -> None:
    """Writes what a search leaves whose trials are not trained; one of them diverges."""

    def train(tasks: list[Task]) -> dict[str, Training]:
        return {task.key: _training(task) for task in tasks}

    halving = Halving(search, start, train)
    folder.mkdir()
    write_search(folder, name, halving, halving.run())


def _training(task: Task) -> Training:
    measures = dict.fromkeys(HISTORY_COLUMNS[2:], 0.5 + task.trial / 100)
    history = [{"seed": task.seed, "epoch": epoch, **measures} for epoch in range(1, 1 + task.until)]
    failure = "made up" if task.trial == 1 else None
    return Training([] if failure else history, 1.0, False, failure)


def _gradients(seeds: list[int], ids: pl.Series) -> pl.DataFrame:
    """Gradients that fade, in the columns of the stage `probe`."""
    table = pl.DataFrame({"seed": pl.Series(seeds, dtype=pl.Int32)}).join(ids.to_frame(), how="cross")
    table = table.join(pl.DataFrame({"distance": range(DISTANCES)}, schema={"distance": pl.Int32}), how="cross")
    return table.with_columns(norm=(0.5 ** pl.col("distance")).cast(pl.Float32))


def _write_explanations(folder: Path, seeds: list[int], texts: pl.DataFrame, encoder: TextEncoder) -> None:
    """Writes what the stage `explain` does: probabilities that fall, and mistakes in the corpus' own words."""
    chances = np.linspace([[1.0] * len(texts)] * 2, 0, len(SHARES)).transpose(1, 2, 0)
    tables = [deletion_rows(seed, texts["id"].to_list(), chances) for seed in seeds]
    pl.concat(tables).write_parquet(folder / DELETION)
    lines = []
    for row in texts.head(len(encoder.classes)).iter_rows(named=True):
        own = enumerate(encoder.decode(row["ids"]))
        words = [Word(word, word, True, place > 0, 1.0 - place) for place, word in own]
        record = Explanation(encoder.classes[0], 0.9, 2.2, 0.1, 0.0, words).record()
        lines.append(json.dumps({"seed": seeds[0], "id": row["id"], "class": encoder.classes[row["label"]], **record}))
    (folder / MISTAKES).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
