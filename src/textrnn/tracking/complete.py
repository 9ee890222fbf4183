"""Pictures, tables and models of a run, which are made from files and logged when the training is over."""

from __future__ import annotations

import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Self

import polars as pl

from textrnn.embeddings.matrix import Embedding
from textrnn.errors import TextrnnError
from textrnn.run_folder import RunFolder
from textrnn.text.vocabulary import Vocabulary
from textrnn.tracking.evidence import corpus_version
from textrnn.tracking.source import Recorded
from textrnn.tracking.store import Store
from textrnn.tracking.upload import upload

FILES = ("run.json", "history.csv", "predictions.parquet")


class Completion:
    """What `sync` calls for each run that is not complete yet; as a context, it holds a scratch folder.

    Args:
        project: the project's top folder.
    """

    def __init__(self, project: Path) -> None:
        self._data = project / "data"

    def __enter__(self) -> Self:
        self._scratch = tempfile.TemporaryDirectory()
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()

    def __call__(self, store: Store, run: RunFolder, recorded: Recorded) -> None:
        """Logs pictures, tables and predictions to the parent, and each seed's model to its child."""
        # Deferred: slow imports, and mostly nothing to complete.
        from textrnn.report import run_report
        from textrnn.report.rendering import write_csv
        from textrnn.tracking.logged_model import log_models

        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for name in FILES:
                if (run.path / name).is_file():
                    shutil.copy(run.path / name, folder / name)
            if run.finished_seeds:
                run_report.write(folder, run, self._validation)
            moved = run.params.get("trainable_embedding") and not run.params.get("normalize_embedding")
            if moved and run.finished_seeds:
                embedding = Embedding.load(self._data / "embeddings" / run.params["embedding"])
                learned = run_report.learned(run, embedding, self._vocabulary)
                write_csv(folder / "neighbours.csv", learned.to_pandas())
            upload(store, recorded.parent.info.artifact_uri, folder)
        if run.kind != "baseline":
            log_models(store, run, recorded.children, corpus_version(self._data.parent), Path(self._scratch.name))

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary.load(self._data / "tokens" / "vocabulary.txt")

    @cached_property
    def _validation(self) -> pl.DataFrame:
        """`id`, `text` and `tokens` (how many the network reads) of the validation split."""
        files = [self._data / folder / "valid.parquet" for folder in ("tokens", "corpus")]
        missing = [file.relative_to(self._data.parent) for file in files if not file.is_file()]
        if missing:
            raise TextrnnError(f"{missing[0]} is missing, and pictures need it. Run `dvc pull`, or `dvc repro`.")
        tokens, texts = (pl.read_parquet(file, glob=False) for file in files)
        return texts.select("id", "text").join(tokens.select("id", tokens=pl.col("ids").list.len()), on="id")
