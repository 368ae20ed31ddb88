"""What to run next: shell commands about a study, or Python calls where a command would be refused.

A command cannot load the images of a search if a script gave them as arrays.
"""

import shlex
from pathlib import Path

from vaetune.study.study import Study
from vaetune.study.trial import Trial


def command(words: str, study: Study, *flags: str) -> str:
    """Returns a shell command about a study, such as "vaetune best hyperband".

    Args:
        words: Name of the command, such as "best".
        study: The study. Its results folder is named unless it is the default.
        flags: Further arguments.
    """
    where = [] if study.results == Path("results") else ["--results", str(study.results)]
    return f"vaetune {words} {shlex.join([study.address, *flags, *where])}"


def continue_command(study: Study, *flags: str, overwrite: bool = False) -> str:
    """Returns the command or the Python call that continues a search.

    Args:
        study: The search.
        flags: Further arguments of the command. The Python call does not have them.
        overwrite: Whether to discard the results of the search, and to start it again.
    """
    if study.names_images:
        return command("search", study, *flags, *["--overwrite"] * overwrite)
    arguments = ["search", "images", repr(str(study.results)), f"name={study.name!r}"]
    return f"vaetune.run_search({', '.join([*arguments, *['overwrite=True'] * overwrite])})"


def evaluate_command(study: Study, trial: Trial | None = None) -> str:
    """Returns the command or the Python call that evaluates a trial on the test images.

    Args:
        study: Study of the trial.
        trial: The trial. Default: the winner.
    """
    is_winner = trial in (None, study.winner)
    flags = [] if is_winner or trial is None else ["--trial", trial.trial_id]
    if study.names_images:
        return command("evaluate", study, *flags)
    named = f"vaetune.load_study({str(study.folder)!r})"
    arguments = [named, *map(repr, flags[1:]), "images=images"]
    return f"vaetune.evaluate_trial({', '.join(arguments)})"
