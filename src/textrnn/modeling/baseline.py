"""Models without a network, which recurrent ones are compared with.

Both have `parameters` (their number) and `training_flops`. `saved` is what they predict with elsewhere.
"""

import numpy as np
import polars as pl
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from textrnn.config.sections import BaselineParams
from textrnn.errors import TextrnnError
from textrnn.modeling.linear import LinearModel
from textrnn.text.tokenizer import tokenize

_MAX_ITERATIONS = 1000


class Majority:
    """Gives every text the class shares of the training split, so it always predicts the most frequent class."""

    def __init__(self, labels: np.ndarray, classes: int) -> None:
        self.shares = (np.bincount(labels, minlength=classes) / len(labels)).astype(np.float32)
        self.parameters = classes
        self.training_flops = 0.0

    def prediction_flops(self, texts: pl.Series) -> float:
        """Returns 0."""
        return 0.0

    def probabilities(self, texts: pl.Series) -> np.ndarray:
        """Returns float32 [texts, classes], each row the same."""
        return np.tile(self.shares, (len(texts), 1))

    def saved(self, classes: tuple[str, ...]) -> LinearModel:
        """Returns the same as a model of no n-grams at all."""
        shares = self.shares[1:] if len(classes) == 2 else self.shares
        with np.errstate(divide="ignore"):  # a class that never occurs, or is the only one
            bias = np.log(shares.astype(np.float64)) - np.log1p(-shares.astype(np.float64))
        return LinearModel(classes, 1, [], np.zeros((len(bias), 0)), bias)


class NBSVM:
    """Naive-Bayes log-count ratios of binary word n-grams, weighted by a linear model, one against the rest.

    Wang & Manning, "Baselines and Bigrams", ACL 2012, with logistic regression for probabilities instead of the SVM.
    """

    def __init__(self, params: BaselineParams, texts: pl.Series, labels: np.ndarray, classes: int) -> None:
        assert params.ngrams is not None and params.min_count is not None
        self._vectorizer = CountVectorizer(
            tokenizer=str.split,
            token_pattern=None,
            lowercase=False,
            binary=True,
            ngram_range=(1, params.ngrams),
            min_df=params.min_count,
            dtype=np.float64,
        )
        try:
            counts = self._vectorizer.fit_transform(_joined_tokens(texts))
        except ValueError as error:
            message = f"nb_svm: no word n-gram occurs in {params.min_count} training texts. Lower min_count."
            raise TextrnnError(message) from error
        # Two classes need one model, class 1 against class 0; more classes need one each.
        self._models = []
        self.training_flops = 0.0
        for positive in [1] if classes == 2 else range(classes):
            ratios = _log_count_ratios(counts, labels == positive)
            model = LogisticRegression(C=params.inverse_regularization, max_iter=_MAX_ITERATIONS)
            with threadpool_limits(1):  # sums split over threads differ in the last digits
                model.fit(counts.multiply(ratios).tocsr(), labels == positive)
            self._models.append((ratios, model))
            # Each iteration takes one product with the data and one with its transpose.
            self.training_flops += 4.0 * counts.nnz * int(model.n_iter_[0])
        self.parameters = len(self._models) * (counts.shape[1] + 1)

    def prediction_flops(self, texts: pl.Series) -> float:
        """Returns the mean per text: a product and a sum for each of its n-grams and each model."""
        counts = self._vectorizer.transform(_joined_tokens(texts))
        return 2.0 * len(self._models) * float(counts.nnz) / len(texts)

    def probabilities(self, texts: pl.Series) -> np.ndarray:
        """Returns float32 [texts, classes]; with more than two classes the rows are scaled to sum to 1."""
        counts = self._vectorizer.transform(_joined_tokens(texts))
        each = [model.predict_proba(counts.multiply(ratios).tocsr())[:, 1] for ratios, model in self._models]
        positive: np.ndarray = np.column_stack([1 - each[0], each[0]] if len(each) == 1 else each)
        shares: np.ndarray = (positive / positive.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares

    def saved(self, classes: tuple[str, ...]) -> LinearModel:
        """Returns the same with each ratio multiplied by its weight."""
        weights = np.stack([ratios * model.coef_[0] for ratios, model in self._models])
        bias = np.array([model.intercept_[0] for _, model in self._models])
        ngrams = self._vectorizer.get_feature_names_out().tolist()
        return LinearModel(classes, self._vectorizer.ngram_range[1], ngrams, weights, bias)


def _log_count_ratios(counts: sparse.csr_matrix, positive: np.ndarray) -> np.ndarray:
    """ln of how much likelier each n-gram is in positive texts, add-one smoothed; float64 [n-grams]."""
    share = [1.0 + np.asarray(counts[rows].sum(axis=0)).ravel() for rows in (positive, ~positive)]
    ratios: np.ndarray = np.log(share[0] / share[0].sum()) - np.log(share[1] / share[1].sum())
    return ratios


def _joined_tokens(texts: pl.Series) -> list[str]:
    return tokenize(texts).list.join(" ").to_list()


Baseline = Majority | NBSVM


def fit_baseline(params: BaselineParams, texts: pl.Series, labels: np.ndarray, classes: int) -> Baseline:
    """Returns the baseline that `params` define, fitted on `texts` with `labels` int32 [texts]."""
    return Majority(labels, classes) if params.kind == "majority" else NBSVM(params, texts, labels, classes)
