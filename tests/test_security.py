"""No code comes out of data: a pickle is planted wherever a file with arrays is read, and nothing of it runs."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_project import TinyProject

from textrnn.config.catalog import VectorsEntry
from textrnn.embeddings.matrix import Embedding
from textrnn.embeddings.pretrained import LAYERS, read_layers
from textrnn.embeddings.sources import read_vectors
from textrnn.errors import TextrnnError
from textrnn.modeling.checkpoint import Checkpoints
from textrnn.modeling.predictor import Predictor


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


def planted(mark: Path) -> np.ndarray:
    return np.array([Planted(mark)], dtype=object)


def test_a_plant_works(tmp_path: Path, mark: Path) -> None:
    np.save(tmp_path / "array.npy", planted(mark), allow_pickle=True)
    np.load(tmp_path / "array.npy", allow_pickle=True)
    assert mark.exists()


def test_vectors_run_nothing(tmp_path: Path, mark: Path) -> None:
    np.save(tmp_path / "matrix.npy", planted(mark), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "vectors.whl", "w") as archive:
        archive.write(tmp_path / "matrix.npy", "matrix.npy")
        archive.writestr("words.txt", "good\n")
    entry = VectorsEntry.model_validate(
        {
            "source": "file:vectors.whl",
            "sha256": "0" * 64,
            "format": "npy",
            "member": "matrix.npy",
            "words": "words.txt",
            "dimension": 1,
        }
    )
    with pytest.raises(TextrnnError, match="floats"):
        read_vectors(tmp_path / "vectors.whl", entry, ["good"])
    assert not mark.exists()


@pytest.mark.parametrize("file", ["matrix.npy", "covered.npy"])
def test_an_embedding_runs_nothing(finished: TinyProject, tmp_path: Path, mark: Path, file: str) -> None:
    folder = finished.folder / "data" / "embeddings" / "glove"
    for each in folder.iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    np.save(tmp_path / file, planted(mark), allow_pickle=True)
    with pytest.raises(TextrnnError, match=r"damaged.*pickle"):
        Embedding.load(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize("run", ["lstm", "nb-svm"])
def test_a_model_runs_nothing(finished: TinyProject, tmp_path: Path, mark: Path, run: str) -> None:
    for each in (finished.folder / "runs" / run / "model" / "0").iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    with np.load(tmp_path / "weights.npz") as arrays:
        names = arrays.files
    np.savez(tmp_path / "weights.npz", **dict.fromkeys(names, planted(mark)))
    with pytest.raises(TextrnnError, match=r"damaged.*pickle"):
        Predictor(tmp_path)
    assert not mark.exists()


def test_layers_of_a_language_model_run_nothing(tmp_path: Path, mark: Path) -> None:
    np.savez(tmp_path / LAYERS, kernel=planted(mark))
    with pytest.raises(TextrnnError, match=r"damaged.*pickle"):
        read_layers(tmp_path)
    assert not mark.exists()


def test_a_checkpoint_runs_nothing(tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "0.npz", json=planted(mark))
    assert Checkpoints(tmp_path, "abc").load(0) is None
    assert "is damaged: deleted" in capsys.readouterr().err
    assert not mark.exists()
