"""The objectives of a search: the measures by which trials are ranked and the winner is chosen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from vaetune.config.choices import ObjectiveName
from vaetune.config.dimensions import Table


@dataclass(frozen=True)
class Objective:
    """A measure of a trained model on the validation images.

    Attributes:
        name: Name in a search file.
        title: Name in tables and charts.
        unit: Unit of a value in text; "" without one.
        unit_of_difference: Unit of the difference of two values.
        is_maximised: Whether larger values are better.
        needs: Requirement on the images: labels, or classes that are left out.
        decimals: Decimals of a value in text.
        rough_decimals: Decimals where a rough value is enough.
        factor: Number by which a value is multiplied in text.
    """

    name: ObjectiveName
    title: str
    unit: str = ""
    unit_of_difference: str = ""
    is_maximised: bool = True
    needs: Literal["labels", "left_out"] | None = None
    decimals: int = 2
    rough_decimals: int = 1
    factor: float = 1.0

    @property
    def is_loss(self) -> bool:
        """Whether this is the validation loss, which every epoch has anyway."""
        return self.needs is None

    @property
    def axis(self) -> str:
        """Title with the unit, such as "validation loss, nats per image"."""
        return ", ".join(filter(None, (self.title, self.unit)))

    @property
    def heading(self) -> str:
        """Title with a capital letter, unless it begins with an abbreviation."""
        begins_with_abbreviation = self.title[1].isupper()
        return self.title if begins_with_abbreviation else self.title.capitalize()

    @property
    def short_unit(self) -> str:
        """Unit without what it is per, such as "nats"."""
        return self.unit.removesuffix(" per image")

    @property
    def better(self) -> str:
        """Side on which a better value lies: "above" or "below"."""
        return "above" if self.is_maximised else "below"

    @property
    def worse(self) -> str:
        """Side on which a worse value lies."""
        return "below" if self.is_maximised else "above"

    @property
    def best_title(self) -> str:
        """Title of the best of several values, such as "lowest validation loss"."""
        return f"{'highest' if self.is_maximised else 'lowest'} {self.title}"

    @property
    def best_heading(self) -> str:
        """The same with a capital letter."""
        return f"{self.best_title[0].upper()}{self.best_title[1:]}"

    @property
    def best_axis(self) -> str:
        """The same for the best of several values."""
        return ", ".join(filter(None, (self.best_title, self.unit)))

    def cost(self, value: float) -> float:
        """Returns what algorithms minimize: a loss itself, or 1 minus a share."""
        return 1.0 - value if self.is_maximised else value

    def value(self, cost: float) -> float:
        """Returns the value with a cost; the inverse of `cost`."""
        return 1.0 - cost if self.is_maximised else cost

    def lead(self, value: float, other: float) -> float:
        """Returns by how much a value is better than another; negative if it is worse."""
        return self.cost(other) - self.cost(value)

    def lowest_cost(self, entropy_floor: float | None) -> float | None:
        """Returns a lower bound of the cost; None if there is none.

        Args:
            entropy_floor: Lower bound of the validation loss, nats per image; None without one.
        """
        return 0.0 if self.is_maximised else entropy_floor

    def number(self, value: float) -> str:
        """Returns a value for a table with its unit in the heading, such as "94.2 %" or "101.2"."""
        return f"{self.digits(value)} %" if self.unit == "%" else self.digits(value)

    def text(self, value: float) -> str:
        """Returns a value with its unit, such as "94.2 %" or "101.23 nats per image"."""
        return f"{self.digits(value)} {self.unit}".rstrip()

    def short(self, value: float) -> str:
        """Returns a value with a short unit, such as "94.2 %" or "101.23 nats"."""
        return f"{self.digits(value)} {self.short_unit}".rstrip()

    def difference(self, value: float) -> str:
        """Returns the size of a difference, such as "1.3 points" or "0.35 nats"."""
        return f"{self.digits(abs(value))} {self.unit_of_difference}".rstrip()

    def digits(self, value: float) -> str:
        """Returns a value, or the size of a difference, without its unit, such as "94.2"."""
        return f"{self.factor * value:.{self.decimals}f}"

    def rough(self, value: float) -> str:
        """Returns a rough value, without its unit."""
        return f"{self.factor * value:.{self.rough_decimals}f}"


VALIDATION_LOSS = Objective(
    "val_loss",
    "validation loss",
    unit="nats per image",
    unit_of_difference="nats",
    is_maximised=False,
)

_SHARE: Mapping[str, Any] = {
    "unit": "%",
    "unit_of_difference": "points",
    "needs": "labels",
    "decimals": 1,
    "factor": 100.0,
}

OBJECTIVES: Mapping[ObjectiveName, Objective] = {
    one.name: one
    for one in (
        VALIDATION_LOSS,
        Objective("knn_accuracy", "kNN accuracy", **_SHARE),
        Objective("probe_accuracy", "probe accuracy", **_SHARE),
        Objective("auroc", "AUROC", needs="left_out", decimals=3, rough_decimals=3),
    )
}
"""All objectives, by name."""


class Criteria(Table):
    """What a search is ranked and decided by.

    Attributes:
        objective: Measure of each epoch, which the algorithm improves and which ranks the trials.
        choose_by: Measure that decides among the finalists. None: the objective.
    """

    objective: ObjectiveName = "val_loss"
    choose_by: ObjectiveName | None = None

    @property
    def ranked_by(self) -> Objective:
        """The objective."""
        return OBJECTIVES[self.objective]

    @property
    def chosen_by(self) -> Objective:
        """The measure that decides among the finalists."""
        return OBJECTIVES[self.choose_by or self.objective]

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        # Searches by the validation loss are recorded as the first version did.
        defaults = {"objective": "val_loss", "choose_by": None}
        return {
            key: one for key, one in fields.items() if key not in defaults or one != defaults[key]
        }
