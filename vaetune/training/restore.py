"""Restoring of trained models from checkpoints."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vaetune.errors import ResultsError
from vaetune.models import VAE, build_vae
from vaetune.study import CHECKPOINT_NAME, Arrays, Checkpoint, Study, Trial, leaders, ranked_trials


def read_variables(variables: Sequence[Any]) -> Arrays:
    """Returns copies of the variables of a model or an optimizer, in their order."""
    return tuple(np.array(variable) for variable in variables)


def write_variables(variables: Sequence[Any], arrays: Arrays) -> None:
    """Assigns arrays that `read_variables` returned to the variables of a model.

    Raises:
        ResultsError: The number or the shapes differ, so the arrays belong to another model.
    """
    expected = [tuple(variable.shape) for variable in variables]
    received = [array.shape for array in arrays]
    if expected != received:
        raise ResultsError(
            f"A checkpoint belongs to another model: expected arrays of shapes {expected}, "
            f"received {received}."
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def restore_best(study: Study, trial: Trial) -> VAE:
    """Rebuilds the model of a trial with the weights of its best epoch.

    Raises:
        ResultsError: The checkpoint is damaged, out of date, or was not kept.
    """
    folder = study.trial_folder(trial.trial_id)
    kept = {
        leader.trial_id for leader in leaders(ranked_trials(study), study.search.limits.keep_best)
    }
    if trial.trial_id not in kept and not (folder / CHECKPOINT_NAME).exists():
        raise ResultsError(
            f"The weights of trial {trial.trial_id} were not kept: a search keeps the weights of "
            "its leaders and of the best trial of each latent_dim. These trials have weights: "
            f"{', '.join(_kept(study))}. Run the search again with a larger keep_best to "
            "recreate more."
        )
    checkpoint = Checkpoint.load(folder)
    if trial.best is None or checkpoint.best_epoch != trial.best.epoch:
        raise ResultsError(
            f"The checkpoint of trial {trial.trial_id} is older than the journal, because the "
            "search was stopped or is still running. Run the search to its end first."
        )
    shape = study.started.data.image_shape
    vae = build_vae(shape, trial.hyperparameters, study.likelihood)
    write_variables(vae.ordered_variables, checkpoint.best_weights)
    return vae


def _kept(study: Study) -> list[str]:
    """Returns the completed trials that have weights on disk, best first."""
    folders = {trial.trial_id: study.trial_folder(trial.trial_id) for trial in study.ranking}
    return [trial_id for trial_id, path in folders.items() if (path / CHECKPOINT_NAME).exists()]
