"""Configurations as short text."""

from collections.abc import Collection, Mapping

from vaetune.config.dimensions import Value
from vaetune.config.family import FAMILY, value_of

_FILTERS = ("filters_1", "filters_2")


def short_hyperparameters(values: Mapping[str, Value], searched: Collection[str] = ()) -> str:
    """Returns a configuration as short text, such as "filters 32/64, dense 16, gelu".

    Args:
        values: The configuration.
        searched: Names of the searched hyperparameters; those that the configuration uses are
            shown. Without any, those are shown whose values differ from the Keras example's.
    """
    if not searched:
        searched = [name for name in FAMILY if value_of(values, name) != FAMILY[name].reference]
    named = [name for name in FAMILY if name in searched and name in values]
    words = [short_value(name, value_of(values, name)) for name in named]
    if named[: len(_FILTERS)] == list(_FILTERS):
        words[: len(_FILTERS)] = [f"filters {values['filters_1']}/{values['filters_2']}"]
    return ", ".join(words) or "the Keras example"


def short_value(name: str, value: Value) -> str:
    """Returns the value of a hyperparameter as short text, such as "3 stages" or "gelu"."""
    return FAMILY[name].short.format("no" if value == "none" else value)
