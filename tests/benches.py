"""What one search compiled, for all searches of the same images in a process of tests."""

from vaetune.data import _fingerprint
from vaetune.routine import Bench

MOST = 8
"""Image sets whose benches are kept."""

_benches = {}


def bench_of(images):
    """A bench as `vaetune.search` makes one, or the one that was made for the same images."""
    key = _fingerprint((images.train, images.validation), images.binarize)
    if key not in _benches:
        if len(_benches) == MOST:
            del _benches[next(iter(_benches))]  # the oldest
        _benches[key] = Bench(images)
    return _benches[key]
