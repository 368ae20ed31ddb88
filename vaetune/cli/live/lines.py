"""Lines that a search prints."""


def as_sentence(error: str) -> str:
    """Returns an error with a period at its end."""
    text = " ".join(error.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def subject_of(run: str, trial_id: str | None, main: str) -> str:
    """Returns what a sentence about a trial begins with."""
    if run == main:
        return f"Trial {trial_id}"
    return "The reference" if run == "baseline" else run.capitalize()
