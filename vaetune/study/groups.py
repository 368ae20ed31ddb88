"""The groups of hyperparameters that `vaetune explain` changes together."""

from collections.abc import Mapping

PATH_SEEDS = 2
"""Default number of seeds from which each configuration is trained."""

MAX_PATH_SEEDS = 20
"""Largest number of seeds."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "recipe": (
        "activation",
        "normalization",
        "output_stride",
        "output_bias",
        "learning_rate_warmup",
        "weight_average",
        "kl_warmup",
        "free_bits",
        "beta",
        "weight_decay",
        "clip_norm",
        "learning_rate_decay",
    ),
    "structure": (
        "encoder",
        "decoder",
        "dense_layers",
        "stages",
        "blocks",
        "levels",
        "level_channels",
    ),
    "widths": ("filters_1", "filters_2", "dense_units"),
    "latent size": ("latent_dim",),
    "learning rate": ("learning_rate",),
    "batch size": ("batch_size",),
}
"""Hyperparameters that are changed together, by the name of the group."""
