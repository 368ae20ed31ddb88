from .held_out import (
    evaluate_export,
    record_evaluation,
)
from .images import (
    check_images,
)
from .likelihood import (
    estimate,
)
from .metrics import (
    evaluate,
)
from .rescore import (
    ImageLosses,
    Rescorer,
)
from .trial import evaluate_trial

__all__ = [
    "ImageLosses",
    "Rescorer",
    "check_images",
    "estimate",
    "evaluate",
    "evaluate_export",
    "evaluate_trial",
    "record_evaluation",
]
