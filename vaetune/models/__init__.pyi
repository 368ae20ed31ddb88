from .architecture import (
    GROUP_CHANNELS,
    Architecture,
    Structure,
    group_channels,
)
from .build import (
    build_template,
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
    perfect_logits,
    reconstruction_loss,
)
from .load import (
    load_model,
)
from .losses import (
    Mean,
    binary_cross_entropy,
    kl_divergence,
    kl_per_dimension,
    mean_over_images,
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
    validation_seed,
)

__all__ = [
    "BATCH_MOMENTUM",
    "DEFAULT_SPREAD",
    "GROUP_CHANNELS",
    "VAE",
    "VALIDATION_SEED",
    "Architecture",
    "Mean",
    "Sampling",
    "Structure",
    "VAEHyperModel",
    "binary_cross_entropy",
    "build_decoder",
    "build_encoder",
    "build_template",
    "build_vae",
    "draw_variables",
    "group_channels",
    "kl_divergence",
    "kl_per_dimension",
    "load_model",
    "make_ladder",
    "make_scale",
    "mean_over_images",
    "missing_bits",
    "perfect_logits",
    "reconstruction_loss",
    "reparameterise",
    "total_kl",
    "validation_seed",
]
