"""Executes the notebook of the documentation for a test, with the same outputs but less work.

Graphs are not optimized, the export is not read back in another process, and the evaluation draws
few samples.
"""

import sys
from functools import partial
from pathlib import Path
from unittest import mock

import notebook_cells
import tensorflow as tf
from exports import StubReader

from vaetune.study.scores import EvaluationProtocol

if __name__ == "__main__":
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    few_samples = partial(EvaluationProtocol, importance_samples=5)
    with (
        mock.patch("vaetune.export.trial.Reader", StubReader),
        mock.patch("vaetune.evaluation.trial.EvaluationProtocol", few_samples),
    ):
        notebook_cells.main(Path(sys.argv[1]))
