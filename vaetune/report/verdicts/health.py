"""Verdicts about failed trials and about copies in the data."""

from collections import Counter

from vaetune.config import Choice, Pinned, Range, Value
from vaetune.report.text.units import counted, percent, printable
from vaetune.report.verdicts.verdict import Changes, Dimension, Verdict, write_lines
from vaetune.study import Study, Trial, command

FAILED_SHARE = 0.05
"""Share of failed trials from which they are mentioned."""

REPEATED_SHARE = 0.05
"""Share of images that repeat another of their split, from which they are mentioned."""

_MAX_LETTERS = 160

_NOT_FINITE = " loss became "
"""Part of the error of a trial with a loss that is NaN or infinite."""

_MEMORY = ("ResourceExhausted", "MemoryError", "OOM")


def judge_failures(study: Study) -> Verdict | None:
    """Says how many trials failed and why.

    Args:
        study: Search to describe.
    """
    failures = study.failures
    ended = sum(trial.ended is not None for trial in study.trials)
    if not failures or len(failures) < FAILED_SHARE * ended:
        return None
    reasons = Counter(_reason(trial) for trial in failures)
    (reason, count), *_ = reasons.most_common(1)
    most = "" if len(reasons) == 1 else f"{count:,} of them "
    seen = (
        f"{len(failures):,} of {counted(ended, 'trial')} failed "
        f"({percent(len(failures) / ended)}), {most}with this error: {reason}"
    )
    advice, changes = _against(study, [trial for trial in failures if _reason(trial) == reason])
    lines = write_lines(study, changes) if changes else ""
    return Verdict("failures", "Failed trials", seen, advice, lines)


def _reason(trial: Trial) -> str:
    error = trial.error or "no message was recorded"
    if _NOT_FINITE in error:
        return "The loss became NaN or infinite."
    text = printable(error, _MAX_LETTERS)
    return text if text.endswith((".", "…")) else f"{text}."


def _against(study: Study, failed: list[Trial]) -> tuple[str, Changes]:
    """Returns what to do about trials that failed with the same error, and the changes."""
    error = failed[0].error or ""
    if _NOT_FINITE in error:
        return _against_divergence(study, failed)
    if any(word in error for word in _MEMORY):
        return "Smaller batches need less memory.", _smaller_batches(study)
    full = command("trials", study, "--failed")
    return f"`{full}` shows the errors in full; fix the cause and search again.", {}


def _against_divergence(study: Study, failed: list[Trial]) -> tuple[str, Changes]:
    rates = [_rate(trial) for trial in failed]
    sound = [_rate(trial) for trial in study.trials if trial.status == "completed"]
    largest = max(sound, default=0.0)
    smaller = _up_to(largest, study.space.learning_rate) if largest < min(rates) else None
    if smaller:
        advice = f"All of them have a learning_rate above {largest:.2g}: search smaller ones."
        return advice, {"space.learning_rate": smaller}
    advice = "Limit the norm of the gradient, which keeps most trainings from diverging."
    return advice, {"space.clip_norm": Pinned(value=1)}


def _up_to(largest: float, dimension: Dimension | None) -> Dimension | None:
    """Returns the part of a dimension up to a value; None if it would be empty or the same."""
    match dimension:
        case Range():
            highest = float(f"{largest:.2g}")
            if dimension.min < highest < dimension.max:
                return dimension.model_copy(update={"max": highest})
        case Choice(values=values):
            kept = tuple(value for value in values if float(value) <= largest)
            if 0 < len(kept) < len(values):
                return dimension.model_copy(update={"values": kept})
    return None


def _rate(trial: Trial) -> float:
    return float(trial.hyperparameters.get("learning_rate", 0.0))


def _smaller_batches(study: Study) -> Changes:
    dimension, fixed = study.space.batch_size, study.search.training.batch_size
    if dimension is None:
        return {"training.batch_size": max(1, (fixed or 2) // 2)}
    listed = sorted(dimension.listed(), key=float)
    kept: tuple[Value, ...] = tuple(listed[:-1]) or (max(1, int(listed[-1]) // 2),)
    return {"space.batch_size": Choice(values=kept, when=dimension.when)}


def judge_copies(study: Study) -> Verdict | None:
    """Says how many validation and test images are also in an earlier split, or repeat another.

    Args:
        study: Search to describe.
    """
    data = study.started.data
    copies = data.reading.copies if data.reading else None
    if copies is None:
        return None
    evaluated = data.validation_images + data.test_images
    every = data.train_images + evaluated
    if copies.across:
        few = "slightly " * (copies.across < 0.05 * evaluated)
        are = "is" if copies.across == 1 else "are"
        seen = (
            f"{copies.across:,} of the {evaluated:,} validation and test images {are} also in an "
            f"earlier split, training or validation, so losses are {few}too good."
        )
    elif copies.within >= REPEATED_SHARE * every:
        seen = (
            f"{copies.within:,} of the {every:,} images repeat another one of the same split, and "
            "count twice or more."
        )
    else:
        return None
    advice = "Remove the copies from the image set; there is no setting for it."
    return Verdict("copies", "Copies in the data", seen, advice)
