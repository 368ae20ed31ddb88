"""Conditions of hyperparameters for Keras Tuner."""

from collections.abc import Mapping
from typing import Any

import keras

from vaetune.config import Condition, Value, holds


@keras.saving.register_keras_serializable(package="vaetune")
class UsedWhere:
    """Condition under which a hyperparameter of Keras Tuner is active.

    `HyperParameters.conditional_scope` cannot express alternatives, such as "encoder or decoder is
    conv", nor that a hyperparameter that is not active has its reference value.

    Args:
        condition: Condition on the other hyperparameters.
    """

    def __init__(self, condition: Condition) -> None:
        self.condition: Condition = tuple(
            tuple({name: tuple(values) for name, values in one.items()} for one in clause)
            for clause in condition
        )

    def is_active(self, values: Mapping[str, Value]) -> bool:
        """Returns whether the condition holds for the active hyperparameters of a trial."""
        return holds(self.condition, values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UsedWhere) and other.condition == self.condition

    def __hash__(self) -> int:
        return hash(str(self.condition))

    def get_config(self) -> dict[str, Any]:
        """Returns the condition as Keras Tuner stores it in JSON."""
        return {
            "condition": [
                [{name: list(values) for name, values in one.items()} for one in clause]
                for clause in self.condition
            ]
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "UsedWhere":
        """Returns the condition that `get_config` describes."""
        return cls(config["condition"])
