"""The validation images that the winner reconstructs worst, for the page."""

from dataclasses import dataclass

from vaetune.report.charts.data_urls import grid_to_data_url
from vaetune.report.charts.grids import compute_reconstructions
from vaetune.report.text.units import nats
from vaetune.study import Study, WorstImages


@dataclass(frozen=True)
class Worst:
    """The images that the winner reconstructs worst.

    Attributes:
        source: Data URL of a picture with the images above their reconstructions.
        count: Number of images.
        caption: Explanation, with the range of their losses.
    """

    source: str
    count: int
    caption: str


def show_worst_images(study: Study) -> Worst | None:
    """Draws the worst reconstructions of the winner; None if they were not kept.

    Args:
        study: Search to show.
    """
    winner = study.winner
    worst = WorstImages.load(study.trial_folder(winner.trial_id)) if winner else None
    if worst is None:
        return None
    grid = compute_reconstructions(worst.originals, worst.reconstructions, study.started.data.show)
    count = grid.tiles.shape[1]
    largest, smallest = (nats(float(worst.losses[place])) for place in (0, count - 1))
    above = " above the entropy of their pixels" * (study.likelihood == "bernoulli")
    caption = (
        f"Validation images above their reconstructions: the largest reconstruction losses of "
        f"{study.started.data.validation_images:,}, {largest} to {smallest} nats{above}. These "
        "images may be unusual or damaged, or of a kind that the model has not learned."
    )
    return Worst(grid_to_data_url(grid), count, caption)
