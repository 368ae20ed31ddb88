from .hypermodel import (
    VAEHyperModel,
)
from .losses import (
    binary_cross_entropy,
    kl_divergence,
    kl_per_dimension,
)
from .networks import (
    Sampling,
    build_decoder,
    build_encoder,
    reparameterise,
)
from .vae import (
    VAE,
    VALIDATION_SEED,
    build_vae,
    draw_variables,
    load_model,
)

__all__ = [
    "VAE",
    "VALIDATION_SEED",
    "Sampling",
    "VAEHyperModel",
    "binary_cross_entropy",
    "build_decoder",
    "build_encoder",
    "build_vae",
    "draw_variables",
    "kl_divergence",
    "kl_per_dimension",
    "load_model",
    "reparameterise",
]
