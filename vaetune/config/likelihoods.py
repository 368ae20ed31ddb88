"""The likelihoods of pixels: names and words.

`models.likelihoods` computes them. This module does not import TensorFlow.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Likelihood = Literal["bernoulli", "continuous_bernoulli", "gaussian", "discretized_logistic"]

PIXEL_LEVELS = 256
"""Grey levels of an 8-bit pixel."""


@dataclass(frozen=True)
class LikelihoodWords:
    """A likelihood in words.

    Attributes:
        label: Name in a sentence.
        loss: Name of its negative logarithm, the reconstruction loss.
        scale: Name of its learned scale; empty for a likelihood without one.
        shift: Bits per dimension to add: 8 for a density of pixels in [0, 1], so that it is a
            density of the 256 levels. None: the likelihood is none of grey pixels.
    """

    label: str
    loss: str
    scale: str = ""
    shift: float | None = math.log2(PIXEL_LEVELS)


LIKELIHOODS: Mapping[str, LikelihoodWords] = {
    "bernoulli": LikelihoodWords("Bernoulli", "binary cross-entropy", shift=None),
    "continuous_bernoulli": LikelihoodWords(
        "continuous Bernoulli", "negative log-density of the continuous Bernoulli"
    ),
    "gaussian": LikelihoodWords("Gaussian", "negative log-density of the Gaussian", "sigma"),
    "discretized_logistic": LikelihoodWords(
        "discretized logistic",
        "negative log-probability of the discretized logistic",
        "logistic scale",
        shift=0.0,
    ),
}
"""The likelihoods by name."""


KERAS_EXAMPLE = "Keras example"

_OF_THE_EXAMPLE: tuple[Likelihood, ...] = ("bernoulli",)


def example_name(likelihood: Likelihood) -> str:
    """Returns the name of the Keras example, or of its network trained with another likelihood."""
    if likelihood == "bernoulli":
        return KERAS_EXAMPLE
    return f"{KERAS_EXAMPLE}'s network, {LIKELIHOODS[likelihood].label}"


def list_references(likelihood: Likelihood) -> tuple[Likelihood, ...]:
    """Returns the likelihoods with which a search trains the network of the Keras example.

    Args:
        likelihood: Likelihood of the search.
    """
    return tuple(dict.fromkeys((likelihood, *_OF_THE_EXAMPLE)))


def bits_per_dimension(
    nats: float, image_shape: Sequence[int], likelihood: Likelihood
) -> float | None:
    """Returns a loss in bits for each value of a pixel; None for the Bernoulli likelihood.

    A density on [0, 1] is taken as a density of 256 levels, so 8 bits are added. That is the
    convention of Theis et al. 2016, section 3.1.

    Args:
        nats: Negative log-likelihood or a bound on it, in nats per image.
        image_shape: Height, width and channels.
        likelihood: The likelihood of the pixels.

    References:
        Theis, van den Oord and Bethge, "A note on the evaluation of generative models", 2016.
    """
    shift = LIKELIHOODS[likelihood].shift
    return None if shift is None else nats / (math.prod(image_shape) * math.log(2.0)) + shift
