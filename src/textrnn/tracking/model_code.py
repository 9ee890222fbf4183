"""The code that MLflow runs when it loads a logged model, so that nothing is pickled.

Of this package it imports only the predictor, so that the model's requirements are few.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from textrnn.modeling.predictor import Predictor


class TextClassifier(PythonModel):
    """Maps a frame with the column `text` to a frame with the columns of `Predictor.table`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the saved model inside the MLflow model."""
        self._predictor = Predictor(Path(context.artifacts["model"]))

    def predict(
        self, context: PythonModelContext | None, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Returns a row for each row of `model_input`, with its index; a text that is missing is a bad request."""
        texts = model_input["text"].tolist()
        missing = [str(row) for row, text in enumerate(texts) if not isinstance(text, str)]
        if missing:
            rows = ", ".join(missing[:5])
            message = f"no text in row {rows} (counted from 0), {len(missing)} in all: every row needs text."
            raise MlflowException.invalid_parameter_value(message)
        table = self._predictor.table(pl.Series("text", texts, dtype=pl.String)).to_pandas()
        return table.set_axis(model_input.index)


set_model(TextClassifier())
