"""What one search compiled, for all searches of the same images in a process of tests."""

from vaetune.data.images import fingerprint_of
from vaetune.training.trial import TrainingContext

MOST = 8
"""Image sets whose benches are kept."""

_benches = {}


def bench_of(images):
    """A bench as `vaetune.search` makes one, or the one that was made for the same images."""
    key = fingerprint_of((images.train, images.validation), images.binarize)
    if key not in _benches:
        if len(_benches) == MOST:
            del _benches[next(iter(_benches))]  # the oldest
        _benches[key] = TrainingContext(images)
    return _benches[key]
