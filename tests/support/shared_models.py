"""Restored models, with their compiled functions, that evaluations share in a test process."""

import hashlib
import sys

import tensorflow as tf

from vaetune.study.checkpoint import CHECKPOINT_NAME
from vaetune.training.restore import restore_best

MAX_MODELS = 20
"""Number of models that are kept."""

USERS = ("vaetune.training", "vaetune.evaluation.held_out", "vaetune.export.bundle")
"""Modules that export or import `restore_best`. None of them changes a model."""

_models = {}


def share_models(patch):
    """Lets evaluations and exports of a trial share its restored model.

    Args:
        patch: `pytest.MonkeyPatch` that undoes the change.
    """
    for name in USERS:
        if name in sys.modules:
            patch.setattr(sys.modules[name], "restore_best", restore_shared)


def restore_shared(study, trial):
    """Restores a model, or returns the model that was restored from the same checkpoint."""
    try:
        content = (study.trial_folder(trial.trial_id) / CHECKPOINT_NAME).read_bytes()
    except OSError:
        return restore_best(study, trial)
    key = (
        hashlib.sha256(content).digest(),
        study.started.data.image_shape,
        tuple(sorted(trial.hyperparameters.items())),
        study.likelihood,
        trial.best and trial.best.epoch,
        # The last bits of results depend on whether graphs are optimized.
        tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer"),
    )
    model = _models.pop(key, None) or restore_best(study, trial)
    _models[key] = model
    if len(_models) > MAX_MODELS:
        del _models[next(iter(_models))]
    return model
