"""The model that MLflow serves for comparison: the usual way with Keras, as code that MLflow runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from benchmarks.prediction import BATCH, keras_scorer


class KerasClassifier(PythonModel):
    """Maps a frame with the column `text` to a frame with label and probabilities."""

    def load_context(self, context: PythonModelContext) -> None:
        """Makes the network from the saved model inside the MLflow model."""
        self._score, self._encoder = keras_scorer(Path(context.artifacts["model"]), BATCH)

    def predict(
        self, context: PythonModelContext | None, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Returns a row for each row of `model_input`."""
        probabilities = self._score(pl.Series(model_input["text"].tolist()))
        classes = self._encoder.classes
        answer = pd.DataFrame(probabilities, columns=[f"probability_{name}" for name in classes])
        return answer.assign(label=[classes[index] for index in probabilities.argmax(axis=1)])


set_model(KerasClassifier())
