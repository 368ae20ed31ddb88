"""Measures how well anomaly scores work: AUROC by correction, and by digit left out.

    python benchmarks/anomalies.py corrections                 # what to subtract from the loss
    python benchmarks/anomalies.py digits --mnist mnist.npz    # one digit left out, all of MNIST
    python benchmarks/anomalies.py threshold --mnist mnist.npz # share that the threshold flags
    python benchmarks/anomalies.py --table                     # print the tables only

Models are trained by `vaetune train` in `build/anomalies/`. The measurements are appended to
`results/anomalies.jsonl`. After an interruption, the same command continues. `--only TEXT` limits
it to models with TEXT in their names.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from anomaly_tables import TABLE, anomalies_text, read_rows
from choices import BASE
from numpy.typing import NDArray
from PIL import Image
from workloads import append_line

from vaetune.study import POSTERIOR_SAMPLES

if TYPE_CHECKING:
    from vaetune import Study
    from vaetune.evaluation import Scores

BUILD = Path(__file__).parent.parent / "build" / "anomalies"
DATA = Path(__file__).parent / "data"

Pixels = NDArray[np.uint8]

Parts = Mapping[str, NDArray[np.float64]]
"""Losses and sizes of images by name, each (n,)."""

EPOCHS = 9
LIMIT = 1000
"""Maximum number of images that are scored of each set."""

MNIST_SAMPLES = 8
"""Number of posterior samples of each image of MNIST: fewer than usual, to save time."""


@dataclass(frozen=True)
class Model:
    """A model to train.

    Attributes:
        name: Name of its images.
        seed: Random seed of the training.
    """

    name: str
    seed: int

    @property
    def folder(self) -> Path:
        """Folder of the model's files."""
        return BUILD / f"{self.name}-seed-{self.seed}"


def make_sets() -> dict[str, tuple[Pixels, Pixels]]:
    """Returns training and test images, (n, 28, 28) each, by name."""
    from vaetune.data import load_images

    digits = load_images("digits")
    letters = np.load(DATA / "letters.npz")
    emoji = np.load(DATA / "emoji.npz")
    drawn = np.random.default_rng(0)
    order, other = (drawn.permutation(len(letters[key])) for key in ("x_train", "x_test"))
    return {
        "digits": tuple(
            np.concatenate([each.images[..., 0] for each in splits])
            for splits in ((digits.train, digits.validation), (digits.test,))
        ),
        "letters": (letters["x_train"][order[:5000]], letters["x_test"][other[:LIMIT]]),
        "emoji": (shrink(emoji["x_train"]), shrink(emoji["x_test"])),
        "photos": (crop_photos(4000, 0.0, 0.65), crop_photos(LIMIT, 0.7, 1.0)),
    }


def shrink(images: Pixels) -> Pixels:
    """Returns grey images of 28 x 28 pixels."""
    grey = (Image.fromarray(each).convert("L") for each in images)
    return np.stack([np.asarray(each.resize((28, 28), Image.Resampling.BOX)) for each in grey])


def crop_photos(count: int, left: float, right: float, side: int = 84) -> Pixels:
    """Returns grey pieces of scikit-learn's two photos, 28 x 28 pixels each.

    Args:
        count: Number of pieces.
        left: Left end of the part of the photos, as a share of their width.
        right: Right end of this part.
        side: Side of a piece in pixels of the photo.
    """
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images
    drawn = np.random.default_rng(int(100 * right))
    pieces = []
    for number in range(count):
        photo = photos[number % len(photos)]
        height, width = photo.shape[:2]
        top = drawn.integers(0, height - side)
        start = drawn.integers(int(left * width), int(right * width) - side)
        pieces.append(photo[top : top + side, start : start + side])
    return shrink(np.stack(pieces))


def odd_sets(name: str, sets: Mapping[str, tuple[Pixels, Pixels]]) -> Iterator[tuple[str, Pixels]]:
    """Yields names and images of the sets that are anomalies for a model.

    Args:
        name: Name of the set that the model is trained on.
        sets: Training and test images by name of the set.
    """
    own = sets[name][1]
    for other, (_, images) in sets.items():
        if other != name:
            yield other, images[:LIMIT]
    yield "inverted", 255 - own[:LIMIT]
    yield (
        "shuffled pixels",
        np.random.default_rng(0).permuted(own[:LIMIT].reshape(-1, 784), axis=1).reshape(-1, 28, 28),
    )
    yield "uniform", np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 28, 28))


def train_on(model: Model, images: Pixels) -> "Study":
    """Trains a model on images, unless it is trained already, and returns its study."""
    path = model.folder / "images.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, x_train=images)
    return train(model, str(path), EPOCHS)


def train(model: Model, dataset: str, epochs: int, *options: str) -> "Study":
    """Trains a model, unless it is trained already, and returns its study.

    Args:
        model: The model.
        dataset: Images, as for `vaetune train`.
        epochs: Number of epochs.
        options: Further options of `vaetune train`.
    """
    from vaetune.study import load_study

    folder = model.folder / "baselines" / "model"
    if not (folder / "journal.jsonl").exists() or load_study(folder).winner is None:
        command = [sys.executable, "-m", "vaetune", "train", "--name", "model", *options]
        command += ["--dataset", dataset, "--epochs", str(epochs), "--seed", str(model.seed)]
        command += ["--results", str(model.folder), "--quiet"]
        command += [f"--set={key}={value}" for key, value in BASE.items()]
        subprocess.run(command, check=True)
    return load_study(folder)


class Measure:
    """Measures images with the winner of a study.

    Args:
        study: The study.
    """

    def __init__(self, study: "Study") -> None:
        from vaetune.evaluation import model_of_trial

        self._model = model_of_trial(study, study.winner)
        self._vae = self._model.load()

    def __call__(self, images: Pixels) -> Parts:
        """Returns negative ELBO, lowest loss and compressed size in nats, and the squared error."""
        from vaetune.evaluation import open_images
        from vaetune.evaluation.scoring import score_rows

        found = score_rows(self._vae, open_images(self._model, images), POSTERIOR_SAMPLES)
        return {
            "negative ELBO": _without_nan(found["reconstruction"] + found["kl"]),
            "squared error": _without_nan(found["reconstruction_error"]),
            "entropy": found["lowest_loss"],
            "compressed size": found["compressed_size"],
        }


def _without_nan(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns losses; those that overflowed are infinite, as in `Scores`."""
    return np.where(np.isnan(losses), np.inf, losses)


def corrections(held_out: Parts) -> dict[str, Callable[[Parts], NDArray[np.float64]]]:
    """Returns functions from measured parts of images to their scores, by name.

    Args:
        held_out: Parts of validation images, on which regressions are fitted.
    """
    from vaetune.training import fit_correction

    def regress(*names: str) -> Callable[[Parts], NDArray[np.float64]]:
        def design(parts: Parts) -> NDArray[np.float64]:
            ones = np.ones(len(parts["negative ELBO"]))
            return np.stack([ones, *(parts[name] for name in names)], axis=1)

        weights, *_ = np.linalg.lstsq(design(held_out), held_out["negative ELBO"])
        return lambda parts: parts["negative ELBO"] - design(parts) @ weights

    names = ("negative ELBO", "entropy", "compressed size")
    correction = fit_correction(*(held_out[name] for name in names))

    return {
        "nothing": lambda parts: parts["negative ELBO"],
        "entropy": lambda parts: parts["negative ELBO"] - parts["entropy"],
        "compressed size": lambda parts: parts["negative ELBO"] - parts["compressed size"],
        "regression on entropy": regress("entropy"),
        "regression on compressed size": regress("compressed size"),
        "regression on both": lambda parts: correction.score(*(parts[name] for name in names)),
        "squared error instead": lambda parts: parts["squared error"],
    }


def measure_corrections(only: str) -> None:
    """Trains models and appends the AUROC of each correction on each kind of anomaly."""
    known = {(row["model"], row["seed"], row["odd"]) for row in rows_of("corrections")}
    for model, images, normal, odd in list_cases(make_sets()):
        wanted = {name: each for name, each in odd.items() if (*key(model), name) not in known}
        if only not in model.name or not wanted:
            continue
        study = train_on(model, images)
        measure = Measure(study)
        scores = corrections(measure(validation_of(study)))
        normal_parts = measure(normal)
        for name, each in wanted.items():
            areas = areas_of(scores, normal_parts, measure(each))
            row = {"measure": "corrections", "model": model.name, "seed": model.seed, "odd": name}
            append_line(TABLE, json.dumps({**row, "auroc": areas}))
            print(model.name, model.seed, name, areas, flush=True)


def areas_of(
    scores: Mapping[str, Callable[[Parts], NDArray[np.float64]]], normal: Parts, odd: Parts
) -> dict[str, float]:
    """Returns the AUROC of each score, by name.

    Args:
        scores: Functions from measured parts of images to their scores, by name.
        normal: Parts of normal images.
        odd: Parts of anomalies.
    """
    from vaetune.training import area_under_curve

    areas = {name: area_under_curve(score(normal), score(odd)) for name, score in scores.items()}
    return {name: round(float(each.mean()), 5) for name, each in areas.items()}


def key(model: Model) -> tuple[str, int]:
    """Returns name and seed of a model."""
    return model.name, model.seed


def validation_of(study: "Study") -> Pixels:
    """Returns the first validation images of a study."""
    from vaetune.data import load_prepared

    images: Pixels = load_prepared(study.search.data).validation.images[:LIMIT, ..., 0]
    return images


Case = tuple[Model, Pixels, Pixels, dict[str, Pixels]]
"""A model, its training images, normal images and anomalies by name."""


def list_cases(sets: Mapping[str, tuple[Pixels, Pixels]]) -> Iterator[Case]:
    """Yields each model with the images to train on and to score."""
    from vaetune.data import load_images

    digits = load_images("digits")
    splits = (digits.train, digits.validation, digits.test)
    labels = np.concatenate([split.labels for split in splits])  # type: ignore[arg-type]
    every = np.concatenate([split.images[..., 0] for split in splits])
    test_labels = labels[-len(digits.test) :]
    for seed in (0, 1):
        for name, (train_images, test) in sets.items():
            yield Model(name, seed), train_images, test[:LIMIT], dict(odd_sets(name, sets))
        for label in range(10):
            others = every[: -len(digits.test)][labels[: -len(digits.test)] != label]
            normal = sets["digits"][1][test_labels != label]
            model = Model(f"digits-without-{label}", seed)
            yield model, others, normal[:LIMIT], {str(label): every[labels == label][:LIMIT]}


def rows_of(measure: str) -> list[dict[str, Any]]:
    """Returns the rows of one kind of measurement."""
    return [row for row in read_rows() if row["measure"] == measure]


def measure_digits(mnist: str, only: str) -> None:
    """Trains on nine digits of MNIST at a time, and appends the AUROC of the left-out digit."""
    known = {row["digit"] for row in rows_of("digits")}
    for digit in range(10):
        model = Model(f"mnist-without-{digit}", 0)
        if digit in known or only not in model.name:
            continue
        study = train(model, mnist, 1, "--leave-out", str(digit))
        splits = ("validation", "test", "left_out")
        scores = score_splits(study, *splits, samples=MNIST_SAMPLES)
        counts = {name: int((scores.splits == name).sum()) for name in splits}
        row = {"measure": "digits", "digit": digit}
        row |= {"normal": counts["test"], "odd": counts["left_out"]}
        row["auroc"] = round(scores.auroc(odd=digit), 5)
        append_line(TABLE, json.dumps(row))
        print(row, flush=True)


def measure_threshold(mnist: str) -> None:
    """Trains on all digits of MNIST, and appends the share of test images that are flagged."""
    known = {row["seed"] for row in rows_of("threshold")}
    for seed in (0, 1):
        if seed in known:
            continue
        study = train(Model("mnist", seed), mnist, 1)
        scores = score_splits(study, "validation", "test")
        flagged = scores.flagged[scores.splits == "test"]
        row = {"measure": "threshold", "seed": seed, "images": len(flagged)}
        row |= {"held_out": scores.threshold.images, "flagged": round(float(flagged.mean()), 5)}
        append_line(TABLE, json.dumps({**row, "interval": scores.threshold.interval}))
        print(row, flush=True)


def score_splits(study: "Study", *splits: str, samples: int = POSTERIOR_SAMPLES) -> "Scores":
    """Returns the scores of some splits of a search's images."""
    from vaetune.evaluation import model_of_trial, open_images, score_opened

    model = model_of_trial(study, study.winner)
    rows = open_images(model, None).of_splits(splits)
    return score_opened(model, rows, samples=samples)


def main() -> None:
    """Takes the measurements that are missing, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measure", nargs="?", choices=("corrections", "digits", "threshold"))
    parser.add_argument("--mnist", help="file of MNIST; default: MNIST is downloaded")
    parser.add_argument("--only", default="", help="only models with this text in their names")
    parser.add_argument("--table", action="store_true", help="print the tables only")
    arguments = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    mnist = arguments.mnist or "mnist"
    match arguments.measure:
        case "corrections":
            measure_corrections(arguments.only)
        case "digits":
            measure_digits(mnist, arguments.only)
        case "threshold":
            measure_threshold(mnist)
    print(anomalies_text(read_rows()))


if __name__ == "__main__":
    main()
