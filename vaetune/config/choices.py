"""The words that a search file chooses from. It imports nothing heavy."""

from typing import Literal

Algorithm = Literal["hyperband", "random", "bayesian", "grid", "single"]

SEARCH_ALGORITHMS = ("hyperband", "random", "bayesian", "grid")
"""Algorithms of a search file; "single" trains the one configuration of a baseline."""

NAMED_SETS = ("digits", "mnist", "fashion_mnist")
"""Names of data sets; anything else is a path."""

Binarize = Literal["none", "threshold", "stochastic"]
"""How grey pixels become black or white ones; see `DataSpec`."""

TrainOn = Literal["train+validation"]

Precision = Literal["float32", "mixed_bfloat16"]

Decay = Literal["none", "cosine"]
