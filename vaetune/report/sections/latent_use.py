"""How many latent dimensions the winner uses, for the page."""

from vaetune.report.analysis.budgets import compare_at_equal_budget
from vaetune.report.text.latents import active_units, describe_latents
from vaetune.study import Artifacts, Study, Trial, count_active_units, variance_per_dimension


def describe_latent_use(study: Study) -> str:
    """The active units of the winner and the lowest loss by latent size, in a sentence.

    Args:
        study: Search to show.
    """
    winner = study.winner
    active = _count_active(study, winner) if winner else None
    return describe_latents(winner, active, compare_at_equal_budget(study))


def _count_active(study: Study, winner: Trial) -> int | None:
    """Returns the active units of the top level; those of several levels by the stored z_mean."""
    active = active_units(study, winner)
    artifacts = Artifacts.load(study.trial_folder(winner.trial_id)) if active is None else None
    if artifacts is None or not artifacts.z_mean.size:
        return active
    return count_active_units(variance_per_dimension(artifacts.z_mean))
