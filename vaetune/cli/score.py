"""`vaetune score`: score images as anomalies, with a threshold, heat maps and AUROC."""

from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaetune.cli.console import clean_interrupt, note, say
from vaetune.cli.encode import find_model, say_notes
from vaetune.cli.options import Resize, Results, Splits, StudyName, TableFile, TrialId

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vaetune.data import ImageRows
    from vaetune.evaluation import Comparison, LoadableModel, Scores

_MOST_ANOMALOUS = 10
"""Images that the terminal lists."""

_MAPS, _NORMAL_MAPS = 8, 4
"""Most anomalous images, and images with scores in the middle, that have a heat map."""


@dataclass(frozen=True)
class ClassOptions:
    """The classes that the AUROC compares."""

    odd: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL",
            help="Class of the anomalies, to compute the AUROC. Of the images of the search, test "
            "images and those left out count.",
        ),
    ] = None
    normal: Annotated[
        str | None,
        typer.Option(metavar="LABEL", help="Class of the normal images; all others are odd."),
    ] = None


def score(
    name: StudyName = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Images to score: a folder, an .npz, .npy or idx file, or a name such as digits. "
            "Default: the images of the search."
        ),
    ] = None,
    split: Splits = None,
    output: TableFile = None,
    heat_maps: Annotated[
        Path | None,
        typer.Option("--heat-maps", metavar="FILE", help="Heat maps to write, as a PNG."),
    ] = None,
    classes: ClassOptions = ClassOptions(),
    quantile: Annotated[
        float, typer.Option(help="Share of the validation images that is not flagged.")
    ] = 0.99,
    resize: Resize = None,
    trial: TrialId = None,
    results: Results = Path("results"),
) -> None:
    """Score images as anomalies, and flag those above a threshold.

    The score says how badly the model explains an image. The threshold is a quantile of the scores
    of the validation images of the search. The first argument may also be the folder of an export,
    such as results/best.
    """
    chosen = [label for label in (classes.odd, classes.normal) if label is not None]
    if len(chosen) == 2:
        raise typer.BadParameter("give --odd or --normal, not both: the other classes follow")
    _check(output, heat_maps, quantile)
    with clean_interrupt("Stopped. Nothing was written."):
        model = find_model(name, trial, results, nearby=True)
        from vaetune.evaluation import compare_classes, find_new, open_images

        every = open_images(model, dataset, resize.value if resize else None)
        rows = every.of_splits([each.value for each in split or ()])
        comparison = None
        if chosen:
            facts = rows.labels, rows.class_names, find_new(rows)
            comparison = compare_classes(*facts, classes.odd, classes.normal, rows.splits)
        say_notes(rows, is_search=dataset is None)
        model = replace(model, load=cache(model.load))
        scores = _score(model, rows, every, quantile)
        say(f"Scored {len(rows):,} image{'s' * (len(rows) != 1)} with {model.name}.")
        _say_scores(scores, comparison)
        if output:
            _write_table(output, scores)
        if heat_maps:
            _write_maps(heat_maps, scores, rows, model)


def _check(table: Path | None, heat_maps: Path | None, quantile: float) -> None:
    """Checks the quantile, and that the files can be written, before anything is computed."""
    from vaetune.evaluation import check_quantile

    check_quantile(quantile)
    if table:
        from vaetune.export import check_table

        check_table(table, "scores")
    if heat_maps:
        from vaetune.report import check_heat_maps

        check_heat_maps(heat_maps)


def _score(
    model: "LoadableModel", rows: "ImageRows", every: "ImageRows", quantile: float
) -> "Scores":
    """Scores images, with a progress bar."""
    from rich.console import Console

    from vaetune.cli.live.bars import EvaluationProgress
    from vaetune.device import choose_device

    choose_device("auto", exact=True)
    from vaetune.evaluation import score_opened
    from vaetune.search import StoppableWatcher

    progress = EvaluationProgress(Console(stderr=True), f"{len(rows):,} images", "are scored")
    with progress, StoppableWatcher(progress) as watcher:
        show = partial(watcher.on_progress, "search", None)
        return score_opened(model, rows, quantile, on_progress=show, every=every)


def _say_scores(scores: "Scores", comparison: "Comparison | None") -> None:
    """Prints the threshold, the flagged and the most anomalous images, and the AUROC."""
    from vaetune.report import counted

    if scores.threshold is None:
        note(scores.no_threshold)
    else:
        _say_threshold(scores)
        _say_flagged(scores)
    _say_most_anomalous(scores)
    if comparison:
        pairs = f"{counted(int(comparison.odd.sum()), 'odd image')}, "
        pairs += f"{int(comparison.normal.sum()):,} normal"
        area = comparison.auroc(scores.score)
        say(f"AUROC: {area:.4f} for {comparison.name} ({pairs})")
        if comparison.trained:
            note(
                f"The model was trained or validated on {comparison.trained:,} odd images, so they "
                "look normal to it. To keep a class out of training, name it in the search file: "
                '[data] leave_out = ["LABEL"].'
            )


def _say_threshold(scores: "Scores") -> None:
    threshold = scores.threshold
    assert threshold is not None
    low, high = threshold.interval
    images = f"{threshold.images:,} validation image{'s' * (threshold.images != 1)}"
    say(f"Threshold: {threshold.value:,.2f} nats, quantile {threshold.quantile:g} of {images}.")
    say(
        f"  It flags {threshold.expected_share:.2%} of images of the same kind; with 95% "
        f"confidence, {low:.2%} to {high:.2%}."
    )
    if not scores.correction.images:
        note(
            f"{images} are too few to say which loss is expected of a complex image, so the "
            "lowest loss that it could have is subtracted."
        )
    if threshold.has_too_few:
        note(
            f"{images} are too few for the quantile {threshold.quantile:g}, so the threshold is "
            "their largest score."
        )


def _say_flagged(scores: "Scores") -> None:
    """Prints the number of flagged images, of each split if there are several."""
    flagged, splits = scores.flagged, scores.splits
    assert flagged is not None
    if splits is None:
        say(f"Flagged: {_share(flagged)} images")
        return
    for number, split in enumerate(scores.split_names):
        head = "Flagged:" if number == 0 else " " * 8
        say(f"{head} {_share(flagged[splits == split])} {_in_words(split)} images")


def _in_words(split: object) -> str:
    return str(split).replace("_", " ")


def _share(flagged: "NDArray[np.bool_]") -> str:
    return f"{int(flagged.sum()):,} of {len(flagged):,} ({flagged.mean():.2%})"


def _say_most_anomalous(scores: "Scores") -> None:
    """Prints the images with the highest scores."""
    from vaetune.report import printable

    say("Most anomalous:")
    rows = scores.highest(_MOST_ANOMALOUS).tolist()
    names = {row: printable(str(scores.names[row]), 60) for row in rows}
    width = max(map(len, names.values()))
    for row, name in names.items():
        facts = [f"{scores.score[row]:10,.2f}  {name:<{width}}"]
        if scores.splits is not None:
            facts.append(f"{_in_words(scores.splits[row]):<10}")
        if (label := scores.class_of(row)) is not None:
            facts.append(printable(label))
        if scores.flagged is not None and scores.flagged[row]:
            facts.append("flagged")
        say("  ".join(facts).rstrip())


def _write_table(path: Path, scores: "Scores") -> None:
    from vaetune.export import TableFacts, write_scores

    facts = TableFacts(scores.names, scores.splits, scores.labels, scores.class_names)
    write_scores(path, facts, scores.columns)
    say(f"Table: {path}")


def _write_maps(path: Path, scores: "Scores", rows: "ImageRows", model: "LoadableModel") -> None:
    """Draws heat maps of the images with the highest scores, and of a few others."""
    import numpy as np

    from vaetune.data import to_pixels
    from vaetune.evaluation import map_losses
    from vaetune.report import HeatMaps, write_heat_maps

    anomalous = scores.highest(_MAPS)
    chosen = np.concatenate([anomalous, scores.middle(_NORMAL_MAPS, besides=_MAPS)])
    images = rows.read(chosen)
    reconstructions, losses = map_losses(model.load(), images)
    maps = HeatMaps(
        originals=to_pixels(images),
        reconstructions=to_pixels(np.nan_to_num(reconstructions)),
        losses=losses,
        titles=[_title(scores, row) for row in chosen.tolist()],
        anomalous=len(anomalous),
        show=model.images.data.show,
        splits=[_in_words(split) for split in scores.split_names],
        is_corrected=bool(scores.correction.images),
    )
    write_heat_maps(path, maps)
    say(f"Heat maps: {path}, with {len(chosen)} image{'s' * (len(chosen) != 1)}")


def _title(scores: "Scores", row: int) -> str:
    """Score, split and name of an image."""
    split = "" if scores.splits is None else f"{_in_words(scores.splits[row])} "
    return f"{scores.score[row]:,.1f} nats: {split}{scores.names[row]}"
