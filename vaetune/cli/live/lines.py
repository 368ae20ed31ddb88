"""Parts of the lines that a search prints."""


def as_sentence(error: str) -> str:
    """Returns an error with a period at its end."""
    text = " ".join(error.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def subject_of(run: str, trial_id: str | None, main: str) -> str:
    """Returns the subject of a sentence about a trial."""
    if run == main:
        return f"Trial {trial_id}"
    return "The Keras example" if run == "baseline" else run.capitalize()
