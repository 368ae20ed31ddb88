"""Draws the packaged sample of MNIST: `python -m vaetune.digits.draw PATH/TO/mnist.npz`.

The sample holds 600 training images of each digit, drawn from MNIST's 60,000 training images,
and 100 test images of each, drawn from its 10,000 test images, both shuffled. It is written
next to this file, in Keras's layout. The same input gives the same file, byte for byte.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SEED = 1998
TRAIN_IMAGES_A_DIGIT = 600
TEST_IMAGES_A_DIGIT = 100


def draw(
    labels: NDArray[np.uint8], images_a_digit: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draws equally many indices of each label, shuffled, without replacement.

    Args:
        labels: (n,) digits.
        images_a_digit: Number of images per digit.
        generator: Source of randomness.

    Returns:
        Indices, (10 * images_a_digit,).
    """
    chosen = [
        generator.choice(np.flatnonzero(labels == digit), images_a_digit, replace=False)
        for digit in range(10)
    ]
    return generator.permutation(np.concatenate(chosen))


def main(source: Path) -> None:
    """Writes `digits.npz` from the full MNIST in Keras's layout."""
    generator = np.random.default_rng(SEED)
    with np.load(source, allow_pickle=False) as mnist:
        train = draw(mnist["y_train"], TRAIN_IMAGES_A_DIGIT, generator)
        test = draw(mnist["y_test"], TEST_IMAGES_A_DIGIT, generator)
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
        sys.exit("usage: python -m vaetune.digits.draw PATH/TO/mnist.npz")
    main(Path(sys.argv[1]))
