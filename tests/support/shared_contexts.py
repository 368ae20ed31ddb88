"""Training contexts that searches of the same images share within a test process."""

import random
from dataclasses import dataclass, field
from functools import cached_property

import tensorflow as tf

from vaetune.data.images import fingerprint_of
from vaetune.evaluation.rescore import rescorer_of
from vaetune.models.build import draw_variables
from vaetune.training import context as context_module
from vaetune.training.context import TrainingContext

MAX_CONTEXTS = 8
"""Number of contexts that are kept."""

MAX_DRAWN = 200
"""Number of new models of a context that are kept."""

_contexts = {}


@dataclass(frozen=True, eq=False)
class SharedContext(TrainingContext):
    """A context that draws the variables of a model once per state of the random numbers.

    Drawing takes a third of the time of a tiny search. Its result depends on that state and the
    configuration alone, as tests/training/test_context.py proves.
    """

    _drawn: dict = field(default_factory=dict)

    def draw_weights(self, hyperparameters, likelihood):
        """Draws variables, or returns those that were drawn from the same state."""
        if context_module.draw_variables is not draw_variables:  # A test replaced it.
            return super().draw_weights(hyperparameters, likelihood)
        key = (random.getstate(), tuple(sorted(hyperparameters.items())), likelihood)
        if key in self._drawn:
            weights, after = self._drawn.pop(key)
            random.setstate(after)
        else:
            weights = super().draw_weights(hyperparameters, likelihood)
            after = random.getstate()
        self._drawn[key] = weights, after
        _limit(self._drawn, MAX_DRAWN)
        return tuple(array.copy() for array in weights)

    @cached_property
    def rescorer(self):
        """Measures finalists, and keeps the functions that it compiled."""
        return rescorer_of(self)


def context_of(images):
    """A `SharedContext` of the images; the same one if there is one of the same images."""
    options = tf.config.optimizer.get_experimental_options()
    graphs = options.get("disable_meta_optimizer")  # Their bits differ.
    splits = (images.train, images.validation, *images.left_out)
    key = (fingerprint_of(splits, images.binarize), graphs)
    context = _contexts.pop(key, None) or SharedContext(images)
    _contexts[key] = context
    _limit(_contexts, MAX_CONTEXTS)
    return context


def shared_rescorer_of(context):
    """A rescorer; the same one each time for a `SharedContext`."""
    return context.rescorer if isinstance(context, SharedContext) else rescorer_of(context)


def _limit(kept, most):
    """Removes what was used longest ago; the last entry is the one that was used last."""
    while len(kept) > most:
        del kept[next(iter(kept))]
