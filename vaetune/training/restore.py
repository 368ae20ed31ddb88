"""A trained model restored from a checkpoint."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vaetune.errors import ResultsError
from vaetune.models import VAE, build_vae
from vaetune.study import CHECKPOINT_NAME, Arrays, Checkpoint, Study, Trial, leaders, ranked_trials


def read_variables(variables: Sequence[Any]) -> Arrays:
    """Copies variables of a model or an optimizer, in their order."""
    return tuple(np.array(variable) for variable in variables)


def write_variables(variables: Sequence[Any], arrays: Arrays) -> None:
    """Puts arrays back into the variables they were read from.

    Raises:
        ResultsError: Number or shapes differ: the arrays are of another model.
    """
    ours = [tuple(variable.shape) for variable in variables]
    theirs = [array.shape for array in arrays]
    if ours != theirs:
        raise ResultsError(
            f"A checkpoint is of another model: it has shapes {theirs}, this one {ours}."
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def restore_best(study: Study, trial: Trial) -> VAE:
    """Rebuilds a trial's model with the weights of its best epoch.

    Raises:
        ResultsError: Its checkpoint is damaged, or was not kept.
    """
    folder = study.trial_folder(trial.trial_id)
    kept = {
        leader.trial_id for leader in leaders(ranked_trials(study), study.search.limits.keep_best)
    }
    if trial.trial_id not in kept and not (folder / CHECKPOINT_NAME).exists():
        raise ResultsError(
            f"The weights of trial {trial.trial_id} were not kept: a search keeps those of its "
            "leaders and of the best of each latent_dim. There are those of "
            f"{', '.join(_kept(study))}. Run the search again with a larger --keep-best: "
            "it makes more of them anew."
        )
    checkpoint = Checkpoint.load(folder)
    if trial.best is None or checkpoint.best_epoch != trial.best.epoch:
        raise ResultsError(
            f"The checkpoint of trial {trial.trial_id} is older than its record: the search was "
            "stopped, or runs. Run it to its end first."
        )
    vae = build_vae(study.started.data.image_shape, trial.hyperparameters)
    write_variables(vae.variables, checkpoint.best_weights)
    return vae


def _kept(study: Study) -> list[str]:
    """The completed trials whose weights are there, best first."""
    folders = {trial.trial_id: study.trial_folder(trial.trial_id) for trial in study.ranking}
    return [trial_id for trial_id, path in folders.items() if (path / CHECKPOINT_NAME).exists()]
