"""The events that record measurements of trained models."""

from typing import Annotated, Any, Literal

from pydantic import SerializerFunctionWrapHandler, WrapSerializer, field_serializer

from vaetune.study.finalists import Rescoring, Retraining
from vaetune.study.records import Environment, TimedRecord
from vaetune.study.scores import Evaluation

_UNUSED = {"chosen_by", "use", "use_behind", "uses"}
"""Fields of measured finalists that are left out while they are None."""


def _without_unused(
    measured: Rescoring | Retraining, serialize: SerializerFunctionWrapHandler
) -> dict[str, Any]:
    """Returns measured finalists as an earlier version recorded them, where the ELBO decides."""

    def used(fields: dict[str, Any]) -> dict[str, Any]:
        return {key: one for key, one in fields.items() if key not in _UNUSED or one is not None}

    fields = serialize(measured)
    return used({**fields, "finalists": [used(one) for one in fields["finalists"]]})


_SPARSE = WrapSerializer(_without_unused)


class TrialEvaluated(TimedRecord):
    """The best epoch of a trial was evaluated on the test images.

    Attributes:
        epoch: Epoch that was evaluated, absolute. A trial that has trained further may have a
            better one by now.
        duration_s: Duration of the evaluation, in seconds.
        environment: Machine and software on which it was evaluated.
    """

    event: Literal["trial_evaluated"] = "trial_evaluated"
    trial_id: str
    epoch: int
    evaluation: Evaluation
    duration_s: float
    environment: Environment

    @field_serializer("evaluation", mode="wrap")
    def _without_unused(
        self, evaluation: Evaluation, serialize: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(evaluation)
        # Models that the first version could make are recorded as it did.
        unused = set() if evaluation.lower_levels else {"lower_levels"}
        if evaluation.likelihood == "bernoulli":
            unused |= {"likelihood", "pixel_values"}
        return {key: value for key, value in fields.items() if key not in unused}


class FinalistsRescored(TimedRecord):
    """The finalists were measured again, with many posterior samples.

    Attributes:
        duration_s: Duration of the measurement, in seconds.
    """

    event: Literal["finalists_rescored"] = "finalists_rescored"
    rescoring: Annotated[Rescoring, _SPARSE]
    duration_s: float


class FinalistsRetrained(TimedRecord):
    """The configurations of the finalists were trained from other seeds and measured.

    Attributes:
        duration_s: Duration of training and measurement, in seconds.
    """

    event: Literal["finalists_retrained"] = "finalists_retrained"
    retraining: Annotated[Retraining, _SPARSE]
    duration_s: float
