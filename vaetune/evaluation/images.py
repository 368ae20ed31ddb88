"""Prepares images of a study, and checks that they are the ones it was run on.

This module does not import TensorFlow, so that wrong images are reported at once.
"""

from vaetune.data import Dataset, ImageSet, load_images, prepare_images
from vaetune.errors import ResultsError
from vaetune.study import Study

StudyImages = ImageSet | Dataset
"""Images of a study: an image set, or any source that `load_images` accepts."""

PreparedImages = ImageSet
"""Images of a study that `prepare_given` prepared and checked."""


def prepare_given(study: Study, images: StudyImages) -> PreparedImages:
    """Prepares images as a study did, and checks that they are its images.

    Args:
        study: Search or baseline.
        images: Its images.

    Raises:
        ResultsError: They are other images. The message lists the differences.
        DataError: The images cannot be read.
    """
    loaded = images if isinstance(images, ImageSet) else load_images(images, study.search.data)
    prepared = prepare_images(loaded, study.search.data)
    check_images(study, prepared)
    return prepared


def check_images(study: Study, images: ImageSet) -> None:
    """Checks that the images are the ones the study was run on.

    Raises:
        ResultsError: They are not. The message lists the differences.
    """
    data = study.started.data
    if data.fingerprint == images.fingerprint:
        return
    pairs = {
        "data fingerprint": (data.fingerprint[:12], images.fingerprint[:12]),
        "shape": (describe_shape(data.image_shape), describe_shape(images.image_shape)),
        "training images": (data.train_images, len(images.train)),
        "validation images": (data.validation_images, len(images.validation)),
        "test images": (data.test_images, len(images.test)),
        "classes": (len(data.class_names or ()), len(images.class_names or ())),
    }
    changes = [f"{what}: {old} -> {new}" for what, (old, new) in pairs.items() if old != new]
    read = images.reading.explain_change(data.reading) if images.reading else ""
    raise ResultsError(
        f'"{study.name}" was run on other images than those in {images.source}: '
        f"{'; '.join(changes)}.{read} Use the original images, or start a new search with another "
        "name."
    )


def describe_shape(image_shape: tuple[int, int, int]) -> str:
    """Returns a shape such as "28 x 28 x 1"."""
    return " x ".join(map(str, image_shape))
