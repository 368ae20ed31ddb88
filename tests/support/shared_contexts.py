"""Training contexts that searches of the same images share within a test process."""

import tensorflow as tf

from vaetune.data.images import fingerprint_of
from vaetune.training.context import TrainingContext

MAX_CONTEXTS = 8
"""Number of contexts that are kept."""

_contexts = {}


def context_of(images):
    """A `TrainingContext` of the images; the same one if there is one of the same images."""
    options = tf.config.optimizer.get_experimental_options()
    graphs = options.get("disable_meta_optimizer")  # Their bits differ.
    key = (fingerprint_of((images.train, images.validation), images.binarize), graphs)
    context = _contexts.pop(key, None) or TrainingContext(images)
    _contexts[key] = context  # the most recently used one is the last
    if len(_contexts) > MAX_CONTEXTS:
        del _contexts[next(iter(_contexts))]
    return context
