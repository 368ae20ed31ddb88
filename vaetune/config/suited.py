"""The space of a new search file, made to suit its images. Each line says why."""

import math
from collections.abc import Mapping, Sequence

from vaetune.config.choices import Algorithm
from vaetune.config.family import FAMILY
from vaetune.config.stages import most_stages

DEFAULT_SHAPE = (28, 28, 1)
"""Height, width and channels of the images that the built-in files are made for."""

DEEP_SIDE = 32
"""Height and width from which more than two stages pay."""

_LAST_SIDE = 8
"""Side of the maps that the smaller number of stages leaves; one more stage halves it."""

_FEW_VALUES, _MANY_VALUES = 16 * 16, 48 * 48
"""Values in an image below and above which the latent dimensions differ from the default."""

_FEW_IMAGES, _MANY_IMAGES = 2_000, 20_000
"""Training images below and above which the batches differ from the default."""

_EXAMPLES = ("stages", "normalization")
"""Hyperparameters that the built-in files have as comments only."""

_WIDTH = 58
"""Column at which comments begin, as in the built-in files."""

Suited = Mapping[str, tuple[str, str]]
"""By name of a hyperparameter, its values as the file has them, and the reason."""


def suit_space(
    lines: Sequence[str], image_shape: Sequence[int], count: int, algorithm: Algorithm
) -> list[str]:
    """Returns the lines of `[space]` with values that suit the images.

    Hyperparameters that the lines do not search stay as they are, except `_EXAMPLES`.

    Args:
        lines: The lines of a built-in file. Some hyperparameters are commented out.
        image_shape: Height, width and channels of the images.
        count: Number of training images.
        algorithm: Algorithm of the search. A grid tries one number of stages only.
    """
    if tuple(image_shape) == DEFAULT_SHAPE:
        return list(lines)
    is_grid = algorithm == "grid"
    suited = {**_suit_depth(image_shape, is_grid), **_suit_latents(image_shape)}
    suited |= {**_suit_rate(image_shape, is_grid), **_suit_batches(count)}
    height, width, channels = image_shape
    about = f"# The values suit {count:,} images of {height} x {width} x {channels}."
    header, *others = lines
    explained = [line for line in others if _name_of(line) is None]
    return [header, *explained, about, *_replace(others, suited)]


def _replace(lines: Sequence[str], suited: Suited) -> list[str]:
    """Returns the lines of hyperparameters; a suited one replaces the line with its name."""
    found: list[str] = []
    for line in lines:
        name = _name_of(line)
        if name == "dense_units":  # What the built-in file has as an example is next to filters.
            found += [_write(one, suited) for one in _EXAMPLES if one in suited]
        if name is None or (name in _EXAMPLES and name in suited):
            continue
        is_active = not line.startswith("#")
        found.append(_write(name, suited) if is_active and name in suited else line)
    return found


def _name_of(line: str) -> str | None:
    """Returns the hyperparameter that a line sets, or would set without its "# "."""
    name, equals, _ = line.removeprefix("# ").partition(" = ")
    return name if equals and name in FAMILY else None


def _write(name: str, suited: Suited) -> str:
    values, reason = suited[name]
    return f"{f'{name} = {values}':<{_WIDTH}} # {reason}"


def _choice(*values: int) -> str:
    return f"{{ values = [{', '.join(map(str, values))}] }}"


def _suit_depth(image_shape: Sequence[int], is_grid: bool) -> Suited:
    """Returns the stages, which leave maps of about 8 x 8 or 4 x 4, and what goes with them."""
    height, width, _ = image_shape
    side = min(height, width)
    if side < DEEP_SIDE:
        return {}
    first = min(4, max(2, int(math.log2(side / _LAST_SIDE))))
    stages = [first] if is_grid else range(first, min(first + 1, most_stages(image_shape)) + 1)
    maps = " or ".join(_map(image_shape, number) for number in stages)
    largest = _map(image_shape, first - 1)
    return _suit_normalization(stages) | {
        "filters_1": (_choice(16, 32), f"few: most time is for {_map(image_shape, 1)} maps"),
        "filters_2": (_choice(32, 64), "each later stage doubles it, up to 256"),
        "stages": (
            _choice(*stages) if len(stages) > 1 else f"{{ value = {first} }}",
            f"{height} x {width} pixels: maps of {maps}",
        ),
        "levels": (_choice(1, 2, 3), "2 and 3 add latents on the smallest maps"),
        "level_channels": (_choice(2, 4), f"few: each is on maps of up to {largest}"),
    }


def _suit_normalization(stages: Sequence[int]) -> dict[str, tuple[str, str]]:
    """Returns the normalization. Two stages need none."""
    if max(stages) == 2:
        return {}
    when = "" if min(stages) > 2 else ", when = { stages = [3] }"
    group = f'{{ value = "group"{when} }}'
    return {"normalization": (group, "without it, deep networks diverge")}


def _map(image_shape: Sequence[int], stages: int) -> str:
    """Returns the size of a map after a number of stages, such as "8 x 8"."""
    height, width, _ = image_shape
    return f"{-(-height // 2**stages)} x {-(-width // 2**stages)}"


def _suit_latents(image_shape: Sequence[int]) -> Suited:
    """Returns the latent dimensions, more for images with more values."""
    values = math.prod(image_shape)
    reason = f"{values:,} values in an image"
    if values < _FEW_VALUES:
        return {
            "dense_units": (_choice(32, 64, 128), f"few: {reason}"),
            "latent_dim": (_choice(4, 8, 16), f"few: {reason}"),
        }
    if values <= _MANY_VALUES:
        return {"latent_dim": (_choice(8, 16, 32), f"{reason}: as for digits")}
    return {
        "dense_units": (_choice(128, 256, 512), "not fewer than the largest latent_dim"),
        "latent_dim": (_choice(32, 64, 128), f"many: {reason}"),
    }


def _suit_rate(image_shape: Sequence[int], is_grid: bool) -> Suited:
    """Returns the learning rates, lower for images with many values. Those of the grid are low."""
    if is_grid or math.prod(image_shape) <= _MANY_VALUES:
        return {}
    rates = '{ min = 1e-3, max = 5e-3, scale = "log" }'
    return {"learning_rate": (rates, "low: images of many values diverge at 1e-2")}


def _suit_batches(count: int) -> Suited:
    """Returns the batch sizes, larger for more images."""
    images = f"{count:,} images"
    suited = {"batch_size": (_choice(32, 64), f"{images} make enough steps")}
    if count < _FEW_IMAGES:
        suited["batch_size"] = (_choice(16, 32), f"small: {images} make few steps")
    if count >= _MANY_IMAGES:
        suited["batch_size"] = (_choice(64, 128), f"large: {images} make many steps")
    return suited
