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
    "Embeddings",
    "ImageLosses",
    "LoadableModel",
    "Rescorer",
    "check_images",
    "encode_images",
    "encode_rows",
    "estimate",
    "evaluate",
    "evaluate_export",
    "evaluate_trial",
    "list_latents",
    "model_of_export",
    "model_of_trial",
    "open_images",
    "record_evaluation",
]
