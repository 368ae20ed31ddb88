"""Verdicts about the latent variables: collapse, and dimensions that the winner does not use."""

from vaetune.config import Choice, Pinned, Range, value_of
from vaetune.report.text.collapse import warn_of_winner
from vaetune.report.text.latents import active_units
from vaetune.report.text.units import counted, percent
from vaetune.report.verdicts.verdict import Changes, Dimension, Kind, Verdict, write_lines
from vaetune.study import Study, Trial

MIN_COLLAPSED = 2
"""Number of collapsed trials from which they are mentioned."""

COLLAPSED_SHARE = 0.25
"""Share of collapsed trials among the longest from which they are mentioned."""

INACTIVE_SHARE = 0.25
"""Share of inactive latent dimensions from which they are mentioned."""


def judge_collapse(study: Study) -> Verdict | None:
    """Says whether the winner or many of the longest trials have collapsed.

    Short trials do not count: most models begin with a KL divergence of almost zero.

    Args:
        study: Search to describe.
    """
    winner, most = study.winner, study.search.budget.max_epochs
    if winner is not None and winner.collapsed:
        return _collapse(study, "collapsed", "Collapsed", warn_of_winner(study), winner)
    known = [t for t in study.trials if t.epoch_to == most and t.collapsed is not None]
    collapsed = [trial for trial in known if trial.collapsed]
    if len(collapsed) < max(MIN_COLLAPSED, COLLAPSED_SHARE * len(known)):
        return None
    seen = (
        f"{len(collapsed):,} of the {len(known):,} trials with {counted(most, 'epoch')} have "
        f"collapsed ({percent(len(collapsed) / len(known))}): their latent variables say almost "
        "nothing about an image."
    )
    return _collapse(study, "collapsed_trials", "Collapsed trials", seen, collapsed[0])


def _collapse(study: Study, kind: Kind, title: str, seen: str, trial: Trial) -> Verdict:
    advice, changes = _against_collapse(study, trial)
    lines = write_lines(study, changes) if changes else ""
    return Verdict(kind, title, seen, advice, lines)


def _against_collapse(study: Study, trial: Trial) -> tuple[str, Changes]:
    """Returns what to do about a collapse of a trial, and the changes of the search."""
    own = trial.hyperparameters
    if float(value_of(own, "beta")) > 1:
        advice = "A large beta presses the KL divergence to zero: train with smaller ones."
        return advice, {"space.beta": _at_most_one(getattr(study.space, "beta", None))}
    if not value_of(own, "kl_warmup"):
        epochs = max(1, study.search.budget.max_epochs // 3)
        advice = "Raise the weight of the KL divergence slowly from zero, over the first epochs."
        return advice, {"space.kl_warmup": Pinned(value=epochs)}
    if not value_of(own, "free_bits"):
        advice = "Leave the first tenth of a nat of each latent dimension unpenalized."
        return advice, {"space.free_bits": Pinned(value=0.1)}
    return "Try smaller learning rates: large ones can cause a collapse.", {}


def _at_most_one(beta: Dimension | None) -> Dimension:
    """Returns the values of beta up to 1."""
    if isinstance(beta, Range) and beta.min < 1 < beta.max:
        return beta.model_copy(update={"max": 1})
    if isinstance(beta, Choice):
        small = tuple(one for one in beta.values if not isinstance(one, str) and one <= 1)
        return Choice(values=small or (1,), when=beta.when)
    return Pinned(value=1)


def judge_inactive(study: Study) -> Verdict | None:
    """Says how many latent dimensions of the winner are inactive, if they are many.

    Args:
        study: A complete search.
    """
    winner = study.winner
    active = active_units(study, winner) if winner else None
    if winner is None or active is None or winner.collapsed:
        return None
    inactive = winner.latent_dim - active
    if active < 1 or inactive < max(2, INACTIVE_SHARE * winner.latent_dim):
        return None
    seen = (
        f"{inactive} of the winner's {winner.latent_dim} latent dimensions are inactive: they are "
        "the same for all images."
    )
    advice = f"A latent_dim of {active} should do as well, with a smaller model and embedding."
    lines = write_lines(study, {"space.latent_dim": _smaller(study, winner.latent_dim, active)})
    return Verdict("inactive", "Inactive latent dimensions", seen, advice, lines)


def _smaller(study: Study, latent_dim: int, active: int) -> Dimension:
    """Returns the latent sizes below the winner's, and the number of its active units."""
    listed = study.space.latent_dim.listed()
    smaller = {int(one) for one in listed if int(one) < latent_dim}
    return Choice(values=tuple(sorted({*smaller, active})))
