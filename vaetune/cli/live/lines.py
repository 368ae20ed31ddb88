"""Lines that a search prints."""

from vaetune.report import counted, describe_lead
from vaetune.study import FinalistsRescored, FinalistsRetrained


def as_sentence(error: str) -> str:
    """Returns an error with a period at its end."""
    text = " ".join(error.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def subject_of(run: str, trial_id: str | None, main: str) -> str:
    """Returns what a sentence about a trial begins with."""
    if run == main:
        return f"Trial {trial_id}"
    return "The reference" if run == "baseline" else run.capitalize()


def describe_finals(event: FinalistsRescored | FinalistsRetrained) -> str:
    """Describes the rescoring or retraining of finalists in a line."""
    if isinstance(event, FinalistsRescored):
        told, finalists = event.rescoring, counted(len(event.rescoring.finalists), "finalist")
        how = counted(event.rescoring.posterior_samples, "posterior sample")
        done = f"Rescored {finalists} with {how} of each image, in {event.duration_s:.1f} s"
        lead = told.lead
    else:
        finalists = counted(len(event.retraining.finalists), "finalist")
        seeds = counted(len(event.retraining.seeds), "other seed")
        done, lead = f"Trained {finalists} from {seeds} each", event.retraining.lead
    return f"{done}: {describe_lead(lead)}" if lead else f"{done}."
