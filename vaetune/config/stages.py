"""The number of stages that images of a size allow."""

from collections.abc import Sequence

from vaetune.config.space import Space
from vaetune.errors import SpecError


def most_stages(image_shape: Sequence[int]) -> int:
    """Returns the largest number of stages for images of a size: s stages need 2^(s + 1) pixels.

    Args:
        image_shape: Height, width and channels of the images.
    """
    height, width, _ = image_shape
    return min(height, width).bit_length() - 2


def check_stages(space: Space, image_shape: Sequence[int]) -> None:
    """Checks that images are large enough for every number of stages in a space.

    Args:
        space: The search space.
        image_shape: Height, width and channels of the images.

    Raises:
        SpecError: The images are too small for a number of stages.
    """
    height, width, _ = image_shape
    most, stages = most_stages(image_shape), space.stages
    if stages and any(int(value) > most for value in stages.listed()):
        raise SpecError(
            f"stages expects at most {most} for images of {height} x {width} pixels, received "
            f"{stages.words()}: each stage halves the size, and {most + 1} stages need at least "
            f"{2 ** (most + 2)} pixels in height and width. Use fewer stages, or enlarge the "
            "images with --image-size."
        )
