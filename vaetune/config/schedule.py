"""The number of epochs that Hyperband's schedule trains, without an oracle."""

import math


def schedule_epochs(max_epochs: int, factor: int = 3) -> int:
    """Returns the epochs of all trials of one run of Hyperband's schedule.

    Args:
        max_epochs: Epochs of the longest trials.
        factor: Reduction factor.
    """
    # The formulas, with their rounding, are those of Keras Tuner's oracle.
    end_size = math.ceil(1 + math.log(max_epochs, factor))
    brackets, epochs = 0, float(max_epochs)
    while epochs >= 1:
        epochs, brackets = epochs / factor, brackets + 1
    total = 0
    for bracket in range(brackets):
        trained = 0
        for rung in range(bracket + 1):
            trials = math.ceil(end_size / (bracket + 1) * factor ** (bracket - rung))
            until = math.ceil(max_epochs / factor ** (bracket - rung))
            total += trials * (until - trained)
            trained = until
    return total
