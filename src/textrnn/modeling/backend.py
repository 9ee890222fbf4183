"""Sets Keras' backend up for silent, repeatable work: imported before anything that imports Keras.

One thread per operation: the matrices here are small enough that a second thread costs more than
it brings, results do not depend on how many trainings share the machine, and two trainings side by
side use two cores.
"""

from __future__ import annotations

import logging
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # oneDNN picks kernels by processor: other bytes elsewhere
logging.getLogger("tensorflow").setLevel(logging.ERROR)

import keras  # noqa: E402 - reads the variables above when it is imported

if keras.config.backend() == "tensorflow":
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    tensorflow.config.experimental.enable_op_determinism()

__all__ = ["keras"]
