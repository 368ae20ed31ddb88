"""Checks that the images have what the objectives of a search need."""

import numpy as np

from vaetune.config import VALIDATION_LOSS, Objective, SearchSpec
from vaetune.data import ImageSet
from vaetune.errors import SpecError


def check_objectives(spec: SearchSpec, images: ImageSet) -> None:
    """Checks that trials can be measured by the objectives of a search.

    Raises:
        SpecError: The images have no labels, one class, or no left-out class.
    """
    for key, objective in (("objective", spec.ranked_by), ("choose_by", spec.chosen_by)):
        if problem := _problem(objective, images):
            raise SpecError(
                f'{key} = "{objective.name}" {problem}, or use {key} = "{VALIDATION_LOSS.name}".'
            )


def _problem(objective: Objective, images: ImageSet) -> str | None:
    """Returns what is missing and what to do; None if nothing is missing."""
    if objective.needs == "left_out":
        return _problem_of_left_out(images)
    if objective.needs != "labels":
        return None
    labels = images.train.labels
    if labels is None or images.validation.labels is None:
        return (
            f"needs the class of each image, but {images.name} has no labels. Put the images of "
            "each class into a folder of their own, add labels to the file"
        )
    if len(np.unique(labels)) < 2:
        return (
            f"needs images of at least two classes, but all training images of {images.name} are "
            "of one. Add images of another class"
        )
    return None


def _problem_of_left_out(images: ImageSet) -> str | None:
    if not images.left_out:
        return (
            "needs classes that are left out of training, and the odd images that it finds are of "
            'these. Name them, such as leave_out = ["7"] in [data]'
        )
    if not len(images.left_out[1]):
        return (
            "needs validation images of a left-out class, but there are none. Name another class "
            "in data.leave_out"
        )
    return None
