"""Draws the packaged sample of MNIST: `python -m vaetune.data.digits.draw PATH/TO/mnist.npz`.

The sample has 600 training images of each digit, drawn from MNIST's 60,000 training images, and
100 test images of each digit, drawn from its 10,000 test images. Both are shuffled. The sample is
written to the folder of this file, in Keras's layout. The same input gives the same file, byte for
byte.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SEED = 1998
TRAIN_IMAGES_PER_DIGIT = 600
TEST_IMAGES_PER_DIGIT = 100


def draw(
    labels: NDArray[np.uint8], images_per_digit: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draws the same number of indices for each digit, shuffled, without replacement.

    Args:
        labels: Digits 0 to 9, (n,).
        images_per_digit: Number of images to draw of each digit.
        generator: Source of randomness.

    Returns:
        Indices, (10 * images_per_digit,).
    """
    chosen = [
        generator.choice(np.flatnonzero(labels == digit), images_per_digit, replace=False)
        for digit in range(10)
    ]
    return generator.permutation(np.concatenate(chosen))


def main(source: Path) -> None:
    """Writes `digits.npz` from the full MNIST in Keras's layout."""
    generator = np.random.default_rng(SEED)
    with np.load(source, allow_pickle=False) as mnist:
        train = draw(mnist["y_train"], TRAIN_IMAGES_PER_DIGIT, generator)
        test = draw(mnist["y_test"], TEST_IMAGES_PER_DIGIT, generator)
        target = Path(__file__).with_name("digits.npz")
        np.savez_compressed(
            target,
            x_train=mnist["x_train"][train],
            y_train=mnist["y_train"][train],
            x_test=mnist["x_test"][test],
            y_test=mnist["y_test"][test],
        )
    print(f"{target}: {len(train)} training and {len(test)} test images")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m vaetune.data.digits.draw PATH/TO/mnist.npz")
    main(Path(sys.argv[1]))
