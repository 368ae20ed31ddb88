"""The training in Ray's worker processes, which import this module by its name."""

import time
from typing import Any

import example
import keras
from ray import tune
from workloads import BATCH_SIZE


class Report(keras.callbacks.Callback):
    """Reports the loss and the end of every epoch to Ray Tune."""

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
