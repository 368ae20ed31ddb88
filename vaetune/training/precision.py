"""Training in bfloat16 on a CPU, by oneDNN's automatic mixed precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

ONEDNN_OPTION = "auto_mixed_precision_onednn_bfloat16"


@contextmanager
def onednn_bfloat16(is_wanted: bool) -> Iterator[None]:
    """Lets oneDNN multiply in bfloat16 in the calls of compiled functions inside.

    TensorFlow reads this option at each call, not at tracing. It is global, so it is on around
    training only.

    Args:
        is_wanted: Whether to do so.
    """
    if not is_wanted:
        yield
        return
    tf.config.optimizer.set_experimental_options({ONEDNN_OPTION: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({ONEDNN_OPTION: False})
