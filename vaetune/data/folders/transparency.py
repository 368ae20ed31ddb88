"""Choice of the colour behind the transparent pixels of a set of images."""

from collections.abc import Iterator, Sequence
from typing import Literal

from PIL import Image

from vaetune.data.folders.files import was
from vaetune.data.prepare import Array, decode, has_transparency

Look = Literal["opaque", "invisible", "seen", "lost on black", "lost on both"]
"""How an image looks on its background. A lost image is one colour; an invisible one has no
pixel that is not fully transparent."""

_NEARLY_ALL = 0.9


def look_of(image: Image.Image, pixels: Array, is_chosen: bool) -> Look:
    """Returns how an image looks on its background.

    Args:
        image: Loaded image.
        pixels: Decoded image, on black if the background is chosen.
        is_chosen: Whether vaetune chooses the background.
    """
    if not has_transparency(image):
        return "opaque"
    low, high = image.convert("RGBA").getchannel("A").getextrema()
    if low == 255:
        return "opaque"
    if high == 0:
        return "invisible"
    if not is_chosen or not _is_constant(pixels):
        return "seen"
    return "lost on both" if _is_constant(decode(image, "white")) else "lost on black"


def _is_constant(pixels: Array) -> bool:
    return bool((pixels == pixels[:1, :1]).all())


def are_transparent(looks: Sequence[Look]) -> bool:
    """Whether at least one image has transparent pixels."""
    return any(look != "opaque" for look in looks)


def choose(looks: Sequence[Look]) -> str:
    """Returns white if black loses nearly all transparent images and white does not."""
    visible = [look for look in looks if look not in ("opaque", "invisible")]
    limit = _NEARLY_ALL * len(visible)
    lost_on_black = sum(look != "seen" for look in visible)
    lost_on_both = sum(look == "lost on both" for look in visible)
    return "white" if visible and lost_on_black >= limit > lost_on_both else "black"


def notes(looks: Sequence[Look], background: str | None, is_chosen: bool) -> Iterator[str]:
    """Yields a sentence about the background, if there are transparent pixels."""
    if background is None:
        return
    count = sum(look != "opaque" for look in looks)
    fact = (
        f"{count} of {len(looks)} images {_have(count)} transparent pixels, with {background} "
        "behind them"
    )
    if not is_chosen:
        yield f"{fact}."
        return
    why = ", because black would hide the images" if background == "white" else ""
    yield f'{fact}{why}. Set background = "white" or another colour under [data] to choose it.'


def warnings(looks: Sequence[Look]) -> Iterator[str]:
    """Yields a warning about images that show nothing."""
    if count := sum(look == "invisible" for look in looks):
        yield f"{count} of {len(looks)} images {was(count)} fully transparent and show nothing."


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
