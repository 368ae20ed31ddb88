"""What Ray's worker processes run: a module of its own, since they import it by name."""

import time
from typing import Any

import example
import keras
from ray import tune
from workloads import BATCH_SIZE


class Report(keras.callbacks.Callback):
    """Reports every epoch to Ray Tune, with the time at which it ended."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        tune.report({"val_loss": logs["val_loss"], "at": time.time()})


def train_reporting(values: dict[str, Any], train: Any, validation: Any, epochs: int) -> None:
    """Trains one configuration."""
    example.build(values).fit(
        train,
        validation_data=(validation,),
        epochs=epochs,
        batch_size=BATCH_SIZE,
        callbacks=[Report()],
        verbose=0,
    )
