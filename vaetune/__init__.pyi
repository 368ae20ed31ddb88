from .config import SearchSpec, Space, load_search
from .data import load_images
from .errors import VaetuneError
from .evaluation import encode_images, evaluate_trial, score_images
from .export import export_trial, write_trials
from .models import VAE, VAEHyperModel, load_model
from .report import write_report
from .search import run_search
from .study import Study, Trial, list_studies, load_study
from .version import __version__

__all__ = [
    "VAE",
    "SearchSpec",
    "Space",
    "Study",
    "Trial",
    "VAEHyperModel",
    "VaetuneError",
    "__version__",
    "encode_images",
    "evaluate_trial",
    "export_trial",
    "list_studies",
    "load_images",
    "load_model",
    "load_search",
    "load_study",
    "run_search",
    "score_images",
    "write_report",
    "write_trials",
]
