"""What an export hands over, as its card tells it."""

from dataclasses import dataclass

from vaetune.study import Study, Trial


@dataclass(frozen=True)
class Handover:
    """An export that is being written.

    Attributes:
        study: The search, or the baseline, that the trial is of.
        trial: The trial of which the model is handed over.
        baseline: The Keras example trained on the same images, if there is one.
        formats: The formats that were written and read back, such as ("keras", "onnx").
        figures: Names of the pictures that were written.
        has_predict: Whether `predict.py` was written.
    """

    study: Study
    trial: Trial
    baseline: Study | None
    formats: tuple[str, ...]
    figures: tuple[str, ...]
    has_predict: bool
