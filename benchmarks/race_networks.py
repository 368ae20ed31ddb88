"""The networks that the contenders of a race train: the Keras example's, or vaetune's hypermodel.

Ray's worker processes import this module by its name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

EXAMPLE, HYPERMODEL = "example", "hypermodel"


def space_of(network: str) -> Any:
    """Returns the search space of a network.

    Args:
        network: `EXAMPLE` for the space of vaetune 0.1, which holds networks like the Keras
            example's, or `HYPERMODEL` for vaetune's default space.
    """
    from vaetune.config import DEFAULT_SPACE
    from vaetune.config.space import EARLIER_SPACE

    return EARLIER_SPACE if network == EXAMPLE else DEFAULT_SPACE


def train(
    network: str,
    values: Mapping[str, Any],
    images: tuple[Any, Any],
    epochs: int,
    callbacks: Sequence[Any],
) -> list[float]:
    """Trains one configuration with Keras's `fit`, and returns its validation losses.

    Args:
        network: `EXAMPLE` or `HYPERMODEL`.
        values: Hyperparameters.
        images: Training and validation images, in [0, 1].
        epochs: Number of epochs.
        callbacks: Callbacks of `fit`.
    """
    train_images, validation = images
    options = {
        "validation_data": (validation,),
        "epochs": epochs,
        "callbacks": list(callbacks),
        "verbose": 0,
    }
    if network == EXAMPLE:
        import example
        from workloads import BATCH_SIZE

        history = example.build(values).fit(train_images, batch_size=BATCH_SIZE, **options)
    else:
        import keras_tuner

        from vaetune.models import VAEHyperModel

        hp = keras_tuner.HyperParameters()
        hp.values = dict(values)
        hypermodel = VAEHyperModel(train_images.shape[1:])
        history = hypermodel.fit(hp, hypermodel.build(hp), train_images, **options)
    losses: list[float] = history.history["val_loss"]
    return losses


def train_on_ray(
    values: dict[str, Any], network: str, images: tuple[Any, Any], epochs: int
) -> None:
    """Trains one configuration in a worker of Ray, and reports each epoch to Ray Tune."""
    import time

    import keras
    from ray import tune

    class Report(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            tune.report({"val_loss": logs["val_loss"], "at": time.time()})

    train(network, values, images, epochs, [Report()])
