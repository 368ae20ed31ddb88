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
    """A context that draws the variables of a model once for each state of the random generator.

    Drawing takes a third of the time of a tiny search. The result depends only on that state, the
    hyperparameters and the likelihood; tests/training/test_context.py checks this.
    """

    _drawn: dict = field(default_factory=dict)

    def draw_weights(self, hyperparameters, likelihood):
        """Draws variables, or returns the variables that were drawn from the same state."""
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
        """The rescorer of finalists, which keeps its compiled functions."""
        return rescorer_of(self)


def context_of(images):
    """Returns the `SharedContext` of equal images, or a new one if there is none."""
    options = tf.config.optimizer.get_experimental_options()
    # The last bits of results depend on whether graphs are optimized.
    graphs = options.get("disable_meta_optimizer")
    splits = (images.train, images.validation, *images.left_out)
    key = (fingerprint_of(splits, images.binarize), graphs)
    context = _contexts.pop(key, None) or SharedContext(images)
    _contexts[key] = context
    _limit(_contexts, MAX_CONTEXTS)
    return context


def shared_rescorer_of(context):
    """Returns the rescorer of a `SharedContext`, or a new one for another context."""
    return context.rescorer if isinstance(context, SharedContext) else rescorer_of(context)


def _limit(kept, most):
    """Removes the least recently used entries, which come first."""
    while len(kept) > most:
        del kept[next(iter(kept))]
