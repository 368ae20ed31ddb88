"""The images of a search and their preparation: the table `[data]` of a search file."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from vaetune.config.choices import Binarize, TrainOn
from vaetune.config.likelihoods import Likelihood
from vaetune.config.reading import ReadingSpec


def _to_names(value: Any) -> Any:
    """Returns class names as texts, because labels are often numbers."""
    several = value if isinstance(value, list | tuple) else (value,)
    names = [str(name) if type(name) is int else name for name in several]
    return tuple(dict.fromkeys(names)) if all(isinstance(name, str) for name in names) else names


ClassNames = Annotated[tuple[str, ...], BeforeValidator(_to_names), Field(min_length=1)]
"""Class names, written as texts or as whole numbers."""


class DataSpec(ReadingSpec):
    """The images of a search and their preparation. `ReadingSpec` has the keys of reading.

    Attributes:
        dataset: One of `NAMED_SETS`, or a path.
        binarize: Treatment of grey pixels. "none" keeps them; "threshold" sets a pixel to 1 if it
            is at least one half, else to 0; "stochastic" sets it to 1 with a probability equal to
            its value, drawn again in each training epoch but only once for validation and test.
        train_on: Images to train on. None: the training images. "train+validation": also the
            validation images, except a few that choose the best epoch; see `prepare_images`.
        likelihood: Likelihood of the pixels.
        leave_out: Names of classes without which a model is trained, validated and tested.
    """

    dataset: Annotated[str, Field(min_length=1)] = "digits"
    binarize: Binarize = "none"
    train_on: TrainOn | None = None
    likelihood: Likelihood = "bernoulli"
    leave_out: ClassNames | None = None

    @model_validator(mode="after")
    def _suits_binary_pixels(self) -> "DataSpec":
        if self.binarize != "none" and self.likelihood != "bernoulli":
            raise ValueError(
                f'likelihood = "{self.likelihood}" is for grey pixels, but binarize = '
                f'"{self.binarize}" makes them 0 or 1. Use likelihood = "bernoulli", or '
                'binarize = "none"'
            )
        return self
