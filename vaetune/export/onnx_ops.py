"""Operations of TensorFlow that tf2onnx cannot convert."""

from typing import Any

import numpy as np

_FIRST_OPSET = 9
"""The first version of ONNX's operators with `Erf`."""


def register_operations() -> None:
    """Registers conversions with tf2onnx. Repeated calls change nothing.

    Keras's gelu is 0.5 x erfc(-x / sqrt(2)). ONNX has only erf = 1 - erfc.
    """
    from tf2onnx.handler import tf_op

    tf_op("Erfc").register_compat_handler(_convert_erfc, _FIRST_OPSET)


def _convert_erfc(graph: Any, node: Any, **_: Any) -> None:
    """Replaces a node erfc(x) by 1 - erf(x)."""
    shape, dtype = graph.get_shape(node.output[0]), graph.get_dtype(node.output[0])
    erf = graph.make_node("Erf", node.input)
    one = graph.make_const(f"{node.name}_one", np.array(1.0, dtype=np.float32))
    graph.remove_node(node.name)
    graph.make_node(
        "Sub",
        [one.output[0], erf.output[0]],
        name=node.name,
        outputs=node.output,
        shapes=[shape],
        dtypes=[dtype],
    )
