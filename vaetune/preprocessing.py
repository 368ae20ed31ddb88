"""What becomes of an image file before a model encodes it, told to whoever gets the model."""

from typing import Any

from vaetune.study import Study

THRESHOLD = 0.5


def describe_preprocessing(study: Study) -> dict[str, Any]:
    """What `preprocessing.json` says; `predict.py` does it in this order.

    It is what was done to the training images, and for a file of another size what comes next to
    it: those were of one size.
    """
    height, width, channels = study.started.data.image_shape
    method = study.search.data.binarize
    return {
        "image": {
            "height": height,
            "width": width,
            "channels": channels,
            "colour": "grey" if channels == 1 else "RGB",
            "transparent": "on black",
        },
        "resize": {
            "policy": "resize",
            "policies": "resize | refuse, where an image has another size",
            "filter": "bilinear",
            "keeps_proportions": False,
        },
        "scale": {"divide_by": 255, "range": [0.0, 1.0], "dtype": "float32"},
        "binarize": {
            "method": method,
            "threshold": THRESHOLD if method == "threshold" else None,
        },
        "layout": ["image", "height", "width", "channel"],
    }
