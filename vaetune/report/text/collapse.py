"""Describes posterior collapse: which trials have collapsed, and what that means."""

from vaetune.report.text.units import counted
from vaetune.study import ACTIVE_VARIANCE, COLLAPSED_KL, Study, Trial, TrialEnded

MEANING = (
    f"no latent dimension has a z_mean with a variance above {ACTIVE_VARIANCE:g} over validation "
    f"images, or the KL divergence is below {COLLAPSED_KL:g} nats"
)
"""The definition of a collapse."""


def describe_status(trial: Trial) -> str:
    """The status of a trial, such as "failed" or "completed, collapsed"."""
    return f"{trial.status}, collapsed" if trial.collapsed else trial.status


def describe_end(event: TrialEnded) -> str:
    """The active units and the KL divergence of a collapsed trial; empty for other trials."""
    if not event.collapsed or event.val_kl_loss is None:
        return ""
    units = counted(event.active_units or 0, "active unit")
    return f"collapsed (KL {event.val_kl_loss:.2f}, {units})"


def describe_collapsed(trial: Trial) -> str:
    """A clause about the last epoch of a collapsed trial."""
    kl, units = trial.last_kl_loss or 0.0, counted(trial.active_units or 0, "active unit")
    return f"{units}, KL {kl:.2f} nats after epoch {trial.epochs[-1].epoch if trial.epochs else 0}"


def count_collapsed(study: Study) -> str:
    """The number of collapsed trials in a sentence; empty if it is known for no trial."""
    completed = [trial for trial in study.trials if trial.status == "completed"]
    known = [trial for trial in completed if trial.collapsed is not None]
    if not known:
        return ""
    collapsed = sum(bool(trial.collapsed) for trial in known)
    trials = counted(len(known), "completed trial")
    unknown = len(completed) - len(known)
    rest = f" It was not measured for {counted(unknown, 'earlier trial')}." * (unknown > 0)
    if not collapsed:
        return f"No trial has collapsed, of {trials}.{rest}"
    return f"{collapsed} of {trials} collapsed: at the last epoch {MEANING}.{rest}"


def warn_of_winner(study: Study) -> str:
    """A sentence if the winner has collapsed; empty otherwise."""
    winner = study.winner
    if winner is None or not winner.collapsed:
        return ""
    return (
        f"The winner has collapsed: {describe_collapsed(winner)}. It has the best "
        f"{'loss' if study.measure.is_loss else study.measure.title}, but its latent variables say "
        "almost nothing about an image."
    )
