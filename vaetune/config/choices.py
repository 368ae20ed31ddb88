"""The values that a search file can choose from.

Only the standard library is imported, so the command line can use this module at once.
"""

from typing import Literal

Algorithm = Literal["hyperband", "freeze_thaw", "random", "bayesian", "grid", "single"]

SEARCH_ALGORITHMS = ("hyperband", "freeze_thaw", "random", "bayesian", "grid")
"""Algorithms that a search file can name. `vaetune train` uses "single": one configuration."""

NAMED_SETS = ("digits", "mnist", "fashion_mnist")
"""Image sets with a name; any other `dataset` is a path."""

Binarize = Literal["none", "threshold", "stochastic"]
"""How grey pixels become black or white; see `DataSpec`."""

TrainOn = Literal["train+validation"]

Precision = Literal["float32", "mixed_bfloat16"]

Compile = Literal["auto", "padded", "none"]
"""Whether training steps are compiled with XLA; see `Training`."""

Decay = Literal["none", "cosine"]

ObjectiveName = Literal["val_loss", "knn_accuracy", "probe_accuracy", "auroc"]
"""Measures by which a search ranks trials; see `Objective`."""
