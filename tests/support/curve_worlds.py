"""Simulated learning curves over the default space, and searches on them without training."""

import math
from functools import cache

from vaetune.models.architecture import Architecture
from vaetune.search.oracles.cost import epoch_cost
from vaetune.search.oracles.decision import Chooser, rungs_of
from vaetune.search.oracles.encoding import Encoder
from vaetune.search.oracles.observations import Run

FLOOR = 56.0
EPOCHS = 9
IMAGES = 5000


def cost_of(values):
    """Estimated seconds of an epoch of 5,000 images."""
    sizes = {name: value for name, value in values.items() if name != "learning_rate"}
    return _cost(tuple(sizes.items()))


@cache
def _cost(sizes):
    values = dict(sizes)
    return epoch_cost(Architecture.of((28, 28, 1), values), IMAGES, int(values["batch_size"]))


def loss_of(values, epoch, floor=FLOOR):
    """A loss that decreases with the epochs and has its minimum at one configuration."""
    rate = math.log(values["learning_rate"] / 5e-3)
    latent = math.log2(values["latent_dim"] / 16)
    excess = 36 + 4 * (values["batch_size"] == 64) + 14 * rate**2 + 3 * latent**2
    excess -= 2 * (values["levels"] == 2) + 0.006 * values["dense_units"]
    return floor + excess * (1 + 1.4 * epoch**-1.2)


def chooser_of(space, seed=1, floor=FLOOR, max_epochs=EPOCHS, cost=cost_of):
    return Chooser(Encoder(space), rungs_of(max_epochs), seed, cost, floor)


def run_chooser(chooser, loss=loss_of, total_epochs=75, floor=FLOOR):
    """Yields each proposal of a search with one worker, and the runs after it."""
    runs, left, number = [], total_epochs, 0
    while (proposal := chooser.choose(runs, number, left)) is not None:
        run = runs[proposal.run] if proposal.run is not None else Run(proposal.values, "0")
        new_loss = loss(proposal.values, proposal.epoch_to, floor)
        continued = Run(
            run.values,
            str(number),
            (*run.ends, proposal.epoch_to),
            (*run.losses, new_loss),
        )
        if proposal.run is None:
            runs.append(continued)
        else:
            runs[proposal.run] = continued
        left -= proposal.epoch_to - proposal.epoch_from
        number += 1
        yield proposal, runs
