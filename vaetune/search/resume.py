"""Decides whether a search can be continued, and what is left to do.

This module does not import TensorFlow, so errors in a command are reported at once.
"""

from collections.abc import Sequence
from pathlib import Path

from vaetune.config import (
    EARLIER,
    Objective,
    ResolvedSearch,
    SearchSpec,
    check_not_reserved,
    differences,
    earlier_searches,
    is_larger,
    resolve,
)
from vaetune.data import ImageSet
from vaetune.errors import OVERWRITE, ResultsError
from vaetune.files import is_whole, lock_results
from vaetune.report import counted
from vaetune.search.results_folder import check_usable
from vaetune.study import (
    CHECKPOINT_NAME,
    PICTURES_NAME,
    Study,
    Trial,
    has_begun,
    is_open,
    leaders,
    load_study,
    ranked_trials,
)


def is_unfinished(
    resolved: ResolvedSearch,
    images: ImageSet,
    results: Path,
    overwrite: bool = False,
    extend: bool = False,
) -> bool:
    """Returns whether a search has something left to do. Its folder is not changed.

    The arguments and the errors are those of `open_search`.
    """
    check_not_reserved(resolved.name)
    folder = results / resolved.name
    check_usable(folder)
    if not folder.exists():
        return True
    with lock_results(folder):
        past = None if overwrite else find_past(folder)
    if past is None:
        return True
    check_same_experiment(past, resolved.spec, images, folder, extend)
    grows = extend and is_larger(resolved.spec.budget, past.search.budget)
    return grows or not is_done(past, resolved.spec)


def find_past(folder: Path) -> Study | None:
    """Returns the study in a folder, or None if none has begun there.

    Raises:
        JournalError: Its journal is damaged.
    """
    return load_study(folder) if has_begun(folder) else None


def check_same_experiment(
    past: Study, spec: SearchSpec, images: ImageSet, folder: Path, extend: bool
) -> None:
    """Checks that a folder holds the same experiment, or one that may be extended to it.

    Args:
        past: The study in the folder.
        spec: The experiment to run.
        images: The image set.
        folder: Folder of the study.
        extend: Whether the experiment may have a larger budget than the study.

    Raises:
        ResultsError: The folder holds another experiment, or the study cannot be extended.
    """
    before, now = past.started.data.fingerprint, images.fingerprint
    changes = differences(spec, past.search)
    other_data = [f"data fingerprint: {before[:12]} -> {now[:12]}"] if before != now else []
    read = ""
    if other_data and images.reading:
        read = images.reading.explain_change(past.started.data.reading)
    advice = f"Use {OVERWRITE} to discard it. To keep both, give the search another name, or "
    advice += "choose another folder with --results."
    if not other_data:
        earlier = [past.started.search, *(extension.search for extension in past.extensions)]
        if any(not differences(spec, known) for known in earlier):
            if extend and past.is_complete and not past.extensions:
                raise space_exhausted(past) if _is_exhausted(past) else _nothing_to_extend(past)
            return
        same_budget = spec.model_copy(update={"budget": past.search.budget})
        is_extension = is_larger(spec.budget, past.search.budget)
        if is_extension and not differences(same_budget, past.search):
            if extend and past.is_complete and _is_exhausted(past):
                raise space_exhausted(past)
            if extend:
                return
            extended = "Use --extend (in Python: extend=True) to continue with the larger budget."
            advice = f"{extended} {advice}"
        advice = _how_to_finish(past, folder) or advice
        advice = f"{_how_to_continue(past, changes)}{advice}"
    raise ResultsError(
        f"{folder} holds another experiment: {'; '.join(changes + other_data)}.{read} {advice}"
    )


def _how_to_continue(past: Study, changes: Sequence[str]) -> str:
    """Returns the options that continue a search, if only they are missing; else empty."""
    options = ""
    match [change.partition(":")[0] for change in changes]:
        case ["data.likelihood"]:
            options = f"--likelihood {past.likelihood}"
        case ["start_with"]:
            options = " ".join(f"--start-with {one}" for one in past.started.start_from)
    return f"To continue it, use {options}. " if options else ""


def _how_to_finish(past: Study, folder: Path) -> str:
    """Returns how to finish a search that an earlier built-in file began; empty if none did."""
    name = f"{folder.name}-{EARLIER}"
    file = earlier_searches().get(name)
    if file is None or resolve(file).spec.space != past.search.space:
        return ""
    aside = folder.with_name(name)
    return (
        f'The built-in file "{folder.name}" has changed since vaetune {EARLIER}. To finish this '
        f"search, rename its folder and use the old file: mv {folder} {aside}; vaetune search "
        f"{name}. To discard it, use {OVERWRITE}."
    )


def space_exhausted(past: Study) -> ResultsError:
    """Returns the error that a complete study cannot be extended, because its space is small."""
    tried = counted(_configurations(past), "configuration")
    return ResultsError(
        f'"{past.name}" is complete because its space is exhausted: it holds no more than the '
        f"{tried} that were tried. For others, widen the space in a search file of another name."
    )


def _configurations(past: Study) -> int:
    if is_open(past.plan):
        return len({trial.configuration for trial in past.trials})
    return sum(rung.trials for rung in past.plan if rung.rung == 0)


def _is_exhausted(past: Study) -> bool:
    if past.search.algorithm == "freeze_thaw":
        return _configurations(past) >= past.search.space.size() and not _paused(past)
    tried, limit = _configurations(past), past.search.budget.max_trials
    return tried >= past.search.space.size() or (limit is not None and tried < limit)


def _paused(past: Study) -> list[Trial]:
    """Returns the last trials of configurations that have not trained to their end."""
    last = {trial.configuration: trial for trial in past.trials}
    epochs = past.search.budget.max_epochs
    return [t for t in last.values() if t.status == "completed" and t.epoch_to < epochs]


def _nothing_to_extend(past: Study) -> ResultsError:
    budget = past.search.budget
    limits = {
        "hyperband_iterations": budget.hyperband_iterations,
        "total_epochs": budget.total_epochs,
        "max_trials": budget.max_trials,
    }
    larger = [f"budget.{key} above {value}" for key, value in limits.items() if value is not None]
    advice = f"To extend it, raise {larger[0]}." if larger else "A whole grid has no more trials."
    return ResultsError(f'"{past.name}" is already complete. {advice}')


def is_done(past: Study, spec: SearchSpec) -> bool:
    """Returns whether a study is finished and none of the files that it keeps is damaged.

    Args:
        past: The study.
        spec: The experiment as this session runs it; see `is_decided`.
    """
    is_finished = past.is_complete and is_decided(past, spec)
    return is_finished and not _is_damaged(past, spec.limits.keep_best)


def _is_damaged(past: Study, keep_best: int) -> bool:
    """Returns whether a file that a search keeps is damaged or missing."""
    kept = leaders(ranked_trials(past), keep_best)
    folders = [past.trial_folder(leader.trial_id) for leader in kept]
    names = (CHECKPOINT_NAME, PICTURES_NAME)
    files = [past.folder / PICTURES_NAME, *(f / name for f in folders for name in names)]
    return not all(is_whole(file) for file in files)


def is_rescored(study: Study, measure: Objective) -> bool:
    """Returns whether the present finalists are rescored, with the samples that are due.

    Args:
        study: A study in which all trials have ended.
        measure: Measure that decides among them.
    """
    latest = study.rescored.rescoring if study.rescored else None
    return latest is not None and (latest.posterior_samples, latest.measure) == (
        study.samples_due,
        measure,
    )


def is_decided(study: Study, spec: SearchSpec) -> bool:
    """Returns whether the winner is chosen from the present finalists.

    Args:
        study: A study in which all trials have ended. A baseline has nothing to choose from.
        spec: The experiment as this session runs it: what decides among the finalists, and the
            number of other seeds from which they must be trained.
    """
    if study.started.kind == "baseline" or not study.finalists:
        return True
    is_measured = is_rescored(study, spec.chosen_by)
    return is_measured and is_retrained(study, spec.limits.final_seeds)


def is_retrained(study: Study, final_seeds: int) -> bool:
    """Returns whether the present finalists are trained from enough other seeds."""
    latest = study.retrained
    return final_seeds <= (len(latest.retraining.seeds) if latest else 0)
