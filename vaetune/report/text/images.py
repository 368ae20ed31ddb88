"""Describes how the images of a search were read."""

from collections.abc import Iterator

from vaetune.config import LIKELIHOODS, PIXEL_LEVELS, DataSpec, Likelihood, Reading
from vaetune.report.charts.channels import shown_channels
from vaetune.report.text.units import counted, join_words, printable
from vaetune.study import DataSummary

MAX_CLASSES = 20
"""Largest number of classes that are named."""

_COLOURS = ("red", "green", "blue")


def describe_data(data: DataSummary) -> str:
    """The number and the shape of the images."""
    return (
        f"{data.train_images:,} training and {data.validation_images:,} validation images "
        f"of {_shape(data)}"
    )


def describe_reading(data: DataSummary) -> str:
    """The images and how their values were read, in one line.

    An example is "600 images of 28 x 28 x 1, uint16 0..4095 taken as 0..1". Without a record of
    the reading, this is the same as `describe_data`.
    """
    reading = data.reading
    if reading is None:
        return describe_data(data)
    low, high = (_number(bound) for bound in reading.range)
    parts = [
        f"{counted(_count(data), 'image')} of {_shape(data)}",
        f"{reading.dtype} {low}..{high} taken as 0..1",
    ]
    if reading.high < 0.9 * reading.range[1]:
        parts.append(f"found {_number(reading.low)}..{_number(reading.high)}")
    if reading.rule == "given":
        parts.append("as the search file says")
    if reading.clipped:
        parts.append(f"{counted(reading.clipped, 'value')} outside clipped")
    return ", ".join(parts)


def describe_images(data: DataSummary, chosen: DataSpec | None = None) -> str:
    """The images, how they were read, and what was noticed: one line, then one for each fact.

    Args:
        data: Summary of the images.
        chosen: The `data` section of the search, for the likelihood. None: it is not described.
    """
    facts = list_image_facts(data)
    if chosen is not None:
        facts = (*facts, ("likelihood", describe_likelihood(data, chosen)))
    width = max(len(name) for name, _ in facts)
    lines = (f"  {name:<{width}}  {text}" for name, text in facts)
    return "\n".join([describe_reading(data), *lines])


def describe_image_set(data: DataSummary, chosen: DataSpec | None = None) -> str:
    """The name of the images, how their values were read, and the likelihood, in one line.

    Args:
        data: Summary of the images.
        chosen: The `data` section of the search, for the likelihood. None: it is not described.
    """
    end = "" if chosen is None else f"; {describe_likelihood(data, chosen)}"
    return f"Images: {data.name}, {describe_reading(data)}{end}"


def describe_likelihood(data: DataSummary, chosen: DataSpec) -> str:
    """The likelihood of the pixels in a few words.

    Args:
        data: Summary of the images.
        chosen: The `data` section of the search.
    """
    name = chosen.likelihood
    words = LIKELIHOODS[name]
    scale = f" with one learned {words.scale}" if words.scale else ""
    text = f"{words.label} likelihood{scale}"
    return f"{text}, of pixels rounded to {PIXEL_LEVELS} levels" if _rounds(data, name) else text


def _rounds(data: DataSummary, likelihood: Likelihood) -> bool:
    """Whether a likelihood of 256 levels rounds the pixels. Those of other types are floats."""
    is_exact = data.reading is not None and data.reading.dtype == "uint8"
    is_exact = is_exact and data.reading is not None and data.reading.range == (0.0, 255.0)
    return likelihood == "discretized_logistic" and not is_exact


def describe_warnings(data: DataSummary) -> str:
    """The warnings about how the images were read, one per line; empty without any."""
    warnings = data.reading.warnings if data.reading else ()
    return "\n".join(f"Warning: {text}" for text in warnings)


def list_image_facts(data: DataSummary) -> tuple[tuple[str, str], ...]:
    """Names and texts of all facts about the images of a search, except for the first line."""
    facts = [("splits", _describe_splits(data)), ("classes", _describe_classes(data))]
    if data.reading is not None:
        facts += _facts_of_reading(data, data.reading)
    channels = data.image_shape[2]
    if channels not in (1, 3) or data.show:
        facts.append(("pictures", _describe_show(channels, data.show)))
    if data.reading is not None:
        facts += [("note", text) for text in data.reading.notes]
        facts += [("warning", text) for text in data.reading.warnings]
    return tuple(facts)


def _facts_of_reading(data: DataSummary, reading: Reading) -> Iterator[tuple[str, str]]:
    if reading.copies is not None:
        yield "distinct", f"{reading.copies.distinct:,} of {counted(_count(data), 'image')}"
    if reading.layout != "channels_last":
        yield "axes", f"{reading.layout.replace('_', ' ')} in the file; channels last for the model"
    if reading.pages is not None:
        yield "TIFF pages", f"taken as {reading.pages}"
    if reading.image_size is not None:
        height, width = reading.image_size
        yield "resized", f"to {height} x {width}, {reading.resize or 'crop'}"
    if reading.background is not None:
        yield "background", f"{reading.background}, behind transparent pixels"


def _describe_splits(data: DataSummary) -> str:
    sizes = (
        f"{data.train_images:,} training, {data.validation_images:,} validation and "
        f"{data.test_images:,} test images"
    )
    own = data.reading.own_splits if data.reading else ()
    if data.reading is None:
        return sizes
    if not own:
        return f"{sizes}; validation and test images held out by vaetune"
    held_out = [split for split in ("validation", "test") if split not in own]
    rest = f", {held_out[0]} images held out by vaetune" if held_out else ""
    return f"{sizes}; your own {join_words(own)} images{rest}"


def _describe_classes(data: DataSummary) -> str:
    names, counts = data.class_names, data.class_counts
    if not names:
        return "none, the images have no labels"
    words = [printable(name) for name in names[:MAX_CLASSES]]
    if counts is not None:
        empty = "left out" if data.left_out_images else "0"
        words = [
            f"{word} ({count:,})" if count else f"{word} ({empty})"
            for word, count in zip(words, counts, strict=False)
        ]
    more = len(names) - len(words)
    return f"{len(names)}: {', '.join(words)}{f' and {more} more' if more else ''}"


def _describe_show(channels: int, show: tuple[int, ...] | None) -> str:
    shown = shown_channels(channels, show)
    if not shown:
        return f"each of the {channels} channels in grey, below its number"
    if len(shown) == 1:
        return f"channel {shown[0]} of {channels} in grey"
    numbers = join_words([str(channel) for channel in shown])
    return f"channels {numbers} of {channels} as {join_words(_COLOURS[: len(shown)])}"


def _count(data: DataSummary) -> int:
    return data.train_images + data.validation_images + data.test_images


def _shape(data: DataSummary) -> str:
    return " x ".join(map(str, data.image_shape))


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.4g}"
