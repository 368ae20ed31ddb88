from .architecture import (
    GROUP_CHANNELS,
    Architecture,
    Structure,
)
from .build import (
    build_vae,
    draw_variables,
)
from .hypermodel import (
    VAEHyperModel,
)
from .levels import (
    make_ladder,
)
from .likelihoods import (
    DEFAULT_SPREAD,
    make_scale,
    reconstruction_loss,
)
from .load import (
    load_model,
)
from .losses import (
    binary_cross_entropy,
    kl_divergence,
    kl_per_dimension,
    missing_bits,
    total_kl,
)
from .networks import (
    build_decoder,
    build_encoder,
)
from .sampling import (
    Sampling,
    reparameterise,
)
from .units import (
    BATCH_MOMENTUM,
)
from .vae import (
    VAE,
    VALIDATION_SEED,
    validation_noise,
)

__all__ = [
    "BATCH_MOMENTUM",
    "DEFAULT_SPREAD",
    "GROUP_CHANNELS",
    "VAE",
    "VALIDATION_SEED",
    "Architecture",
    "Sampling",
    "Structure",
    "VAEHyperModel",
    "binary_cross_entropy",
    "build_decoder",
    "build_encoder",
    "build_vae",
    "draw_variables",
    "kl_divergence",
    "kl_per_dimension",
    "load_model",
    "make_ladder",
    "make_scale",
    "missing_bits",
    "reconstruction_loss",
    "reparameterise",
    "total_kl",
    "validation_noise",
]
