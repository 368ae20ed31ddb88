"""Summarises an image set for the journal."""

from vaetune.data import ImageSet, entropy_floor
from vaetune.study import DataSummary


def summarise(images: ImageSet) -> DataSummary:
    """Returns a summary of an image set for the journal."""
    return DataSummary(
        name=images.name,
        source=images.source,
        fingerprint=images.fingerprint,
        image_shape=images.image_shape,
        train_images=len(images.train),
        validation_images=len(images.validation),
        test_images=len(images.test),
        class_names=images.class_names,
        entropy_floor=entropy_floor(images.validation.images),
        reading=images.reading,
        class_counts=images.class_counts,
        left_out_images=sum(map(len, images.left_out)),
    )
