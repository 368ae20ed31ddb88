"""Records learning curves with vaetune's own training, for the tabular benchmark.

    python benchmarks/record_curves.py MNIST.npz            # add the missing curves
    python benchmarks/record_curves.py MNIST.npz --again 5  # record five curves a second time

If it was stopped, the same command continues. With --share 0/2 and --share 1/2, two processes
divide the work.
"""

import argparse
import os
import time
from pathlib import Path

from curves import EPOCHS, TABLE, Curve, configurations, read_curves, write_curve
from workloads import BATCH_SIZE, RESULTS

AGAIN = RESULTS / "curves_again.jsonl"
SEED = 11


def record(number: int, data: Path) -> Curve:
    """Trains a configuration of the sequence on one thread."""
    import keras
    import numpy as np
    import tensorflow as tf

    from vaetune.models.build import build_vae
    from vaetune.training.restore import read_variables
    from vaetune.training.runner import DeviceData, EpochRunner
    from vaetune.training.schedule import Epoch, image_order

    with np.load(data) as arrays:
        images = arrays["x_train"][..., None]
    on_device = DeviceData(tf.constant(images[:2048]), tf.constant(images[50_000:50_512]))
    values = configurations(number + 1)[number]
    keras.utils.set_random_seed(SEED)
    vae = build_vae((28, 28, 1), values)
    runner = EpochRunner(vae, on_device)
    start = read_variables(vae.variables), read_variables(vae.optimizer.variables)
    runner.restore(*start)
    # The first call traces the steps.
    runner.train(Epoch(image_order(BATCH_SIZE, SEED, number, 0), BATCH_SIZE))
    runner.restore(*start)
    val_loss, cpu_s = [], []
    for epoch in range(1, EPOCHS + 1):
        began_s = time.process_time()
        runner.train(Epoch(image_order(2048, SEED, number, epoch), BATCH_SIZE))
        val_loss.append(runner.validate().loss)
        cpu_s.append(time.process_time() - began_s)
    return Curve(number, values, tuple(val_loss), tuple(cpu_s))


def main() -> None:
    """Records the missing curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="MNIST as an .npz file")
    parser.add_argument("--again", type=int, help="number of curves to record a second time")
    parser.add_argument("--until", type=int, default=256, help="number of configurations")
    parser.add_argument("--share", default="0/1", help="part of the work to do, such as 0/2")
    arguments = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    known = [curve.number for curve in read_curves(TABLE)]
    path = AGAIN if arguments.again else TABLE
    wanted = known[: arguments.again] if arguments.again else range(arguments.until)
    part, parts = map(int, arguments.share.split("/"))
    for number in list(wanted)[part::parts]:
        if number in {curve.number for curve in read_curves(path)}:
            continue
        curve = record(number, arguments.data)
        write_curve(curve, path)
        print(f"{number}: {min(curve.val_loss):.2f} nats, {sum(curve.cpu_s):.0f} s", flush=True)


if __name__ == "__main__":
    main()
