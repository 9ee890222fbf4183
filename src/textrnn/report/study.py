"""A study's report: every table, picture and page, made from what the stages before have written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from textrnn.analysis import leaderboard, run_tables
from textrnn.analysis.calibration import calibration
from textrnn.analysis.comparisons import comparisons
from textrnn.analysis.data_size import data_size
from textrnn.analysis.ensembles import ensembles
from textrnn.analysis.examples import groups
from textrnn.analysis.explanations import deletion, mistakes
from textrnn.analysis.gradients import memory
from textrnn.analysis.language_models import language_models
from textrnn.analysis.protocol import protocol, published
from textrnn.analysis.searches import searches
from textrnn.analysis.slices import hardest, log_count_ratios, slices
from textrnn.analysis.word_vectors import MAP_COLUMNS, analogies, neighbours, trained_embedding, word_map
from textrnn.config.params import Params
from textrnn.embeddings.matrix import Embedding
from textrnn.embeddings.pretrained import PretrainedFolder
from textrnn.report import data_quality, page
from textrnn.report.plots import draw
from textrnn.report.rendering import write_csv
from textrnn.report.sections import Report
from textrnn.report.summary import summary
from textrnn.run_folder import RunFolder
from textrnn.search.result import SearchResult
from textrnn.search.winner import search_folder
from textrnn.text.encoder import TextEncoder
from textrnn.text.vocabulary import Vocabulary

SLICED = 5
"""How many runs share a panel and stay legible."""


@dataclass(frozen=True)
class Folders:
    """What is reported, as the stages before have written it."""

    runs: Path
    corpus: Path
    tokens: Path
    embeddings: Path


def write(report: Path, params: Params, folders: Folders, not_stated: Sequence[str] = ()) -> None:
    """Writes the report into the folder `report`.

    Args:
        params: the study, with the winners of its searches among the experiments.
        not_stated: what the catalog does not say of the corpus, such as its licence.

    Raises:
        TextrnnError: a run of the study is missing, or runs cannot be compared.
    """
    runs = [RunFolder.load(folders.runs / name) for name in params.runs]
    study = run_tables.build(runs)
    of_corpus = partial(groups, folders.corpus)
    board = leaderboard.build(runs, study["scores"], of_corpus)
    study["comparisons"] = comparisons(runs, params, leaderboard.best(board), of_corpus)
    board = leaderboard.judge(board, study["comparisons"])
    encoder = TextEncoder.load(folders.tokens)
    train = pl.read_parquet(folders.tokens / "train.parquet")
    ratios = log_count_ratios(train, len(encoder.classes), len(encoder.vocabulary))
    ranked = [run for name in board["experiment"] for run in runs if run.name == name]
    explained = [run for run in ranked if run.name in params.explanations]
    study |= {
        "calibration": calibration(ranked),
        "memory": memory([run for run in ranked if run.name in params.probes], of_corpus),
        "deletion": deletion(explained, of_corpus),
        "mistakes": mistakes(explained),
        **_errors(ranked, params, folders, ratios),
        **_words(ranked, params, folders, encoder.vocabulary, ratios),
        "ensembles": ensembles(ranked),
        "published": published(runs, params, board),
        "language_models": language_models(
            [PretrainedFolder.load(folders.embeddings / name) for name in params.pretraining]
        ),
        **searches([SearchResult.load(search_folder(folders.runs, name)) for name in params.searches], study["scores"]),
    }
    study["protocol"], study["optimism"] = protocol(runs, of_corpus)
    study |= data_size(runs, params, train["label"].count(), of_corpus)
    read = data_quality.read_report
    coverage = {name: read(folders.embeddings / name / "coverage.json") for name in params.starts}
    counts = read(folders.corpus / "quality.json"), read(folders.tokens / "report.json")
    quality = data_quality.to_markdown(*counts, coverage, runs, not_stated)
    draw.study(report, board, study)
    for name, table in {"leaderboard": board, **study}.items():
        if not table.empty:
            write_csv(report / f"{name}.csv", table)
    (report / "metrics").mkdir()
    for name, values in leaderboard.to_metrics(board).items():
        _write(report / "metrics" / f"{name}.json", json.dumps(values, indent=2) + "\n")
    _write(report / "data_quality.md", quality)
    refit = [run.name for run in ranked if params.with_refit(run.name)]
    page.write(report, Report(params.study, params.corpus, summary(board), board, study, quality, refit))


def _errors(
    ranked: Sequence[RunFolder], params: Params, folders: Folders, ratios: np.ndarray
) -> dict[str, pd.DataFrame]:
    """Where the first, the probed and the linear model err, and which texts all find hard."""
    texts = pl.read_parquet(folders.corpus / "valid.parquet", columns=["id", "text"])
    texts = texts.join(pl.read_parquet(folders.tokens / "valid.parquet", columns=["id", "ids"]), on="id")
    linear = [run for run in ranked if run.params.get("kind") == "nb_svm"][:1]
    probed = [run for run in ranked if run.name in params.probes][: SLICED - 1 - len(linear)]
    first = [run for run in ranked if run.kind != "baseline" and run not in probed][:1]
    return {
        "slices": slices([*first, *probed, *linear], texts, ratios, partial(groups, folders.corpus)),
        "hardest": hardest(ranked, texts),
    }


def _words(
    ranked: Sequence[RunFolder], params: Params, folders: Folders, vocabulary: Vocabulary, ratios: np.ndarray
) -> dict[str, pd.DataFrame]:
    """Neighbours and analogies before training, and neighbours and a map after it.

    After it: of the first run that trains its vectors, and of the first that learns them from scratch.
    """
    embeddings = {name: Embedding.load(folders.embeddings / name).of_vocabulary for name in params.starts}
    trained = [run for run in ranked if run.finished_seeds and run.params.get("trainable_embedding")]
    learned = [run for run in trained if params.is_drawn(run.params["embedding"])]
    # No embedding has such a name: names hold no spaces.
    after = {
        f"{run.name} after training": trained_embedding(run, run.finished_seeds[0], vocabulary)
        for run in (*trained[:1], *learned[:1])
    }
    moved = [run for run in trained if not run.params.get("normalize_embedding")]  # which maps words into another space
    maps = [word_map(run, embeddings[run.params["embedding"]], vocabulary, ratios) for run in moved[:1]]
    return {
        "neighbours": neighbours(embeddings | after, vocabulary, ratios),
        "analogies": analogies(embeddings, vocabulary),
        "words": maps[0] if maps else pd.DataFrame(columns=MAP_COLUMNS),
    }


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="\n")
