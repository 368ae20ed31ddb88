"""The hyperparameters of the model family: kinds, bounds, reference values, and where each is used.

A configuration maps names to values. A name that it lacks has the reference value, that of the
Keras example "Variational AutoEncoder".
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from vaetune.config.dimensions import Value

Alternative = Mapping[str, tuple[Value, ...]]
"""Allowed values of some hyperparameters. It holds if each of them has an allowed value."""

Clause = tuple[Alternative, ...]
"""It holds if at least one alternative holds."""

Condition = tuple[Clause, ...]
"""It holds if all clauses hold. An empty condition always holds."""


@dataclass(frozen=True)
class Hyperparameter:
    """A hyperparameter of the model family.

    Attributes:
        reference: Value in the Keras example.
        kind: "whole" for whole numbers, "real" for real numbers, "text" for categories.
        needs: Description of the possible values.
        short: Format of a value in a line of text.
        low: Smallest possible number.
        high: Largest possible number.
        allowed: Possible texts.
        used: Condition under which a model uses the hyperparameter.
        is_structural: Whether another value needs another computation graph.
    """

    reference: Value
    kind: Literal["whole", "real", "text"]
    needs: str
    short: str
    low: float = -math.inf
    high: float = math.inf
    allowed: tuple[str, ...] = ()
    used: Condition = ()
    is_structural: bool = False

    def accepts(self, value: Value) -> bool:
        """Returns whether a value is possible."""
        if self.kind == "text" or isinstance(value, str):
            return value in self.allowed
        is_of_kind = self.kind == "real" or isinstance(value, int)
        return is_of_kind and math.isfinite(value) and self.low <= value <= self.high


def _whole(
    reference: int,
    short: str,
    low: int = 1,
    high: float = math.inf,
    used: Condition = (),
    is_structural: bool = False,
) -> Hyperparameter:
    bounds = f"of at least {low}" if math.isinf(high) else f"from {low} to {high}"
    needs = f"whole numbers {bounds}"
    return Hyperparameter(
        reference, "whole", needs, short, low, high, used=used, is_structural=is_structural
    )


def _real(reference: float, short: str) -> Hyperparameter:
    return Hyperparameter(reference, "real", "finite numbers of at least 0", short, low=0.0)


def _text(
    short: str, allowed: tuple[str, ...], used: Condition = (), is_structural: bool = True
) -> Hyperparameter:
    """Returns a category. Its first text is that of the Keras example."""
    needs = f"one of {', '.join(map(_quoted, allowed))}"
    return Hyperparameter(
        allowed[0], "text", needs, short, allowed=allowed, used=used, is_structural=is_structural
    )


def _quoted(text: str) -> str:
    return f'"{text}"'


_CONVOLUTIONAL: Condition = (({"encoder": ("conv",)}, {"decoder": ("conv",)}),)
_DENSE: Condition = (({"encoder": ("dense",)}, {"decoder": ("dense",)}),)
_CONV_DECODER: Condition = (({"decoder": ("conv",)},),)
_BOTH_CONVOLUTIONAL: Condition = (({"encoder": ("conv",), "decoder": ("conv",)},),)
_SEVERAL_LEVELS: Condition = (({"levels": (2, 3)},),)

FAMILY: Mapping[str, Hyperparameter] = {
    "filters_1": _whole(32, "filters_1 {}", used=_CONVOLUTIONAL),
    "filters_2": _whole(64, "filters_2 {}", used=_CONVOLUTIONAL),
    "dense_units": _whole(16, "dense {}"),
    "latent_dim": _whole(2, "latent {}"),
    "learning_rate": Hyperparameter(
        1e-3, "real", "finite numbers above 0", "rate {:.2g}", low=math.nextafter(0.0, 1.0)
    ),
    "batch_size": _whole(128, "batch {}"),
    "beta": _real(1.0, "beta {:.4g}"),
    "activation": _text("{}", ("relu", "leaky_relu", "elu", "gelu", "silu")),
    "encoder": _text("{} encoder", ("conv", "dense")),
    "decoder": _text("{} decoder", ("conv", "dense")),
    "dense_layers": _whole(1, "dense layers {}", 1, 4, used=_DENSE, is_structural=True),
    "stages": _whole(2, "{} stages", 2, 5, used=_CONVOLUTIONAL, is_structural=True),
    "blocks": _whole(0, "blocks {}", 0, 4, used=_CONVOLUTIONAL, is_structural=True),
    "normalization": _text("{} norm", ("none", "group", "batch")),
    "output_stride": _whole(1, "stride {}", 1, 2, used=_CONV_DECODER, is_structural=True),
    "levels": _whole(1, "levels {}", 1, 3, used=_BOTH_CONVOLUTIONAL, is_structural=True),
    "level_channels": _whole(4, "level channels {}", used=_SEVERAL_LEVELS),
    "output_bias": _text("bias {}", ("zeros", "mean"), is_structural=False),
    "learning_rate_warmup": _real(0.0, "rate warm-up {:.4g}"),
    "weight_average": Hyperparameter(
        0.0,
        "real",
        "numbers of at least 0 and below 1",
        "average {:.4g}",
        low=0.0,
        high=math.nextafter(1.0, 0.0),
    ),
    "kl_warmup": _real(0.0, "KL warm-up {:.4g}"),
    "free_bits": _real(0.0, "free bits {:.4g}"),
    "weight_decay": _real(0.0, "weight decay {:.4g}"),
    "clip_norm": _real(0.0, "clip {:.4g}"),
    "learning_rate_decay": _text("{} decay", ("none", "cosine"), is_structural=False),
}
"""The hyperparameters by name."""

_ALWAYS_NAMED = ("filters_1", "filters_2", "dense_units", "latent_dim", "learning_rate")

REFERENCE: Mapping[str, Value] = {name: FAMILY[name].reference for name in _ALWAYS_NAMED}
"""Hyperparameters of the Keras example "Variational AutoEncoder"."""

OPTIONAL: Mapping[str, Value] = {
    name: one.reference for name, one in FAMILY.items() if name not in REFERENCE
}
"""Hyperparameters that a configuration has only if its space does, with the Keras example's values.
"""

STRUCTURAL = tuple(name for name, one in FAMILY.items() if one.is_structural)
"""Hyperparameters whose values need computation graphs of their own."""

WIDTHS = ("filters_1", "filters_2", "dense_units", "latent_dim", "level_channels")
"""Hyperparameters that are widths of layers."""

REAL_VALUED = tuple(name for name, one in FAMILY.items() if one.kind == "real")
"""Hyperparameters that are real numbers even if their bounds are integers."""

REFERENCE_BATCH_SIZE = 128

REFERENCE_BETA = 1.0


def value_of(hyperparameters: Mapping[str, Value], name: str) -> Value:
    """Returns the value of a hyperparameter: the reference value if the configuration lacks it."""
    return hyperparameters[name] if name in hyperparameters else FAMILY[name].reference


def holds(condition: Condition, hyperparameters: Mapping[str, Value]) -> bool:
    """Returns whether a condition holds for a configuration."""
    return all(
        any(_allows(alternative, hyperparameters) for alternative in clause) for clause in condition
    )


def _allows(alternative: Alternative, hyperparameters: Mapping[str, Value]) -> bool:
    return all(value_of(hyperparameters, name) in values for name, values in alternative.items())


def parents(condition: Condition) -> tuple[str, ...]:
    """Returns the names of the hyperparameters on which a condition depends."""
    names = (name for clause in condition for alternative in clause for name in alternative)
    return tuple(dict.fromkeys(names))


def used(hyperparameters: Mapping[str, Value]) -> dict[str, Value]:
    """Returns the hyperparameters that a model uses, with their values.

    Args:
        hyperparameters: A configuration. It may name hyperparameters that the model ignores.
    """
    return {
        name: value for name, value in hyperparameters.items() if is_used(hyperparameters, name)
    }


def is_used(hyperparameters: Mapping[str, Value], name: str) -> bool:
    """Returns whether a model with a configuration uses a hyperparameter."""
    condition = FAMILY[name].used if name in FAMILY else ()
    relevant = (one for one in parents(condition) if is_used(hyperparameters, one))
    return holds(condition, {one: value_of(hyperparameters, one) for one in relevant})


def structure_of(hyperparameters: Mapping[str, Value]) -> dict[str, Value]:
    """Returns the structure of a model: the structural hyperparameters that it uses.

    Configurations with the same structure share a computation graph. Hyperparameters that the
    configuration lacks have their reference value.
    """
    names = (name for name in STRUCTURAL if is_used(hyperparameters, name))
    return {name: value_of(hyperparameters, name) for name in names}


def describe_condition(condition: Condition) -> str:
    """Describes a condition in words, such as "encoder or decoder is dense"."""
    return " and ".join(_describe_clause(clause) for clause in condition)


def _describe_clause(clause: Clause) -> str:
    return " or ".join(_describe_alternative(alternative) for alternative in clause)


def _describe_alternative(alternative: Alternative) -> str:
    parts: Iterable[str] = (
        f"{name} is {' or '.join(map(str, values))}" for name, values in alternative.items()
    )
    return " and ".join(parts)
