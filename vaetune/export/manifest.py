"""Writes hyperparameters.json, the facts of an export for programs."""

from typing import Any

from vaetune.study import PROGRAM, READING_OPTIONS, Study, Trial


def build_manifest(study: Study, trial: Trial) -> dict[str, Any]:
    """The facts of hyperparameters.json about a trial, its losses and its data."""
    best = trial.best
    data = study.started.data
    return {
        "program": PROGRAM,
        "search": study.name,
        "trial_id": trial.trial_id,
        "configuration": trial.configuration,
        "hyperparameters": dict(trial.hyperparameters),
        "epochs": best.epoch if best else None,
        "parameters": trial.parameters,
        "validation": {
            "negative_elbo": best.val_loss if best else None,
            "reconstruction_loss": best.val_reconstruction_loss if best else None,
            "kl_loss": best.val_kl_loss if best else None,
            "unit": "nats per image, one posterior sample",
            "images": data.validation_images,
        },
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "image_shape": list(data.image_shape),
            "images": data.images,
            "pixel_range": [0.0, 1.0],
            # The path of the images is left out, because exports are shared.
            **study.search.data.model_dump(include={"binarize", "train_on", "likelihood"}),
            **study.search.data.model_dump(
                include={"leave_out", *READING_OPTIONS}, exclude_none=True
            ),
        },
        "seed": study.search.seed,
        "versions": dict(study.environment.versions) if study.environment else {},
    }
