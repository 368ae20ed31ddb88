from .anomalies import (
    find_new,
    score_images,
    score_opened,
    score_validation,
)
from .classes import (
    Comparison,
    compare_classes,
)
from .embeddings import (
    Embeddings,
    LoadableModel,
    encode_images,
    model_of_export,
    model_of_trial,
    open_images,
)
from .encoding import (
    encode_rows,
    list_latents,
)
from .held_out import (
    evaluate_export,
    record_evaluation,
)
from .images import (
    PreparedImages,
    StudyImages,
    check_images,
    prepare_given,
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
    rescorer_of,
)
from .scores import (
    Scores,
)
from .scoring import (
    map_losses,
)
from .threshold import (
    QUANTILE,
    Threshold,
    check_quantile,
)
from .trial import evaluate_trial
from .validation_losses import VALIDATION_LOSSES

__all__ = [
    "QUANTILE",
    "VALIDATION_LOSSES",
    "Comparison",
    "Embeddings",
    "ImageLosses",
    "LoadableModel",
    "PreparedImages",
    "Rescorer",
    "Scores",
    "StudyImages",
    "Threshold",
    "check_images",
    "check_quantile",
    "compare_classes",
    "encode_images",
    "encode_rows",
    "estimate",
    "evaluate",
    "evaluate_export",
    "evaluate_trial",
    "find_new",
    "list_latents",
    "map_losses",
    "model_of_export",
    "model_of_trial",
    "open_images",
    "prepare_given",
    "record_evaluation",
    "rescorer_of",
    "score_images",
    "score_opened",
    "score_validation",
]
