"""What earlier sessions of a search left in its folder, and whether it can continue.

Needs no TensorFlow: what is refused is refused at once.
"""

from pathlib import Path

from vaetune.config import (
    Limits,
    ResolvedSearch,
    SearchSpec,
    check_not_reserved,
    differences,
    is_larger,
)
from vaetune.data import ImageSet
from vaetune.errors import ResultsError
from vaetune.files import is_whole, lock_results
from vaetune.search.results_folder import check_own_folder
from vaetune.study import (
    CHECKPOINT_NAME,
    PICTURES_NAME,
    Study,
    count_samples,
    has_begun,
    leaders,
    load_study,
    ranked_trials,
)


def is_left(
    resolved: ResolvedSearch,
    images: ImageSet,
    results: Path,
    overwrite: bool = False,
    extend: bool = False,
) -> bool:
    """Whether a search has something left to do; of its folder nothing changes.

    The arguments and the errors are those of `search.open_search`.
    """
    check_not_reserved(resolved.name)
    folder = results / resolved.name
    check_own_folder(folder)
    if not folder.exists():
        return True
    with lock_results(folder):
        past = None if overwrite else find_past(folder)
    if past is None:
        return True
    check_same_experiment(past, resolved.spec, images, folder, extend)
    grows = extend and is_larger(resolved.spec.budget, past.search.budget)
    return grows or not is_done(past, resolved.spec.limits)


def find_past(folder: Path) -> Study | None:
    return load_study(folder) if has_begun(folder) else None


def check_same_experiment(
    past: Study, spec: SearchSpec, images: ImageSet, folder: Path, extend: bool
) -> None:
    """Checks that a search continues the experiment that was begun, or extends it."""
    before, now = past.started.data.fingerprint, images.fingerprint
    changes = differences(spec, past.search)
    other_data = [f"data fingerprint: {before[:12]} -> {now[:12]}"] if before != now else []
    ways = "--overwrite discards what is there; to keep both, copy the search file to another "
    ways += "name or use --results."
    if not other_data:
        earlier = [past.started.search, *(extension.search for extension in past.extensions)]
        if any(not differences(spec, known) for known in earlier):
            if extend and past.is_complete and not past.extensions:
                raise ResultsError(_nothing_to_extend(past))
            return
        same_else = spec.model_copy(update={"budget": past.search.budget})
        if not differences(same_else, past.search) and is_larger(spec.budget, past.search.budget):
            if extend:
                return
            ways = f"--extend goes on to the larger budget; {ways}"
    raise ResultsError(
        f"{folder} holds another experiment: {'; '.join(changes + other_data)}. {ways}"
    )


def _nothing_to_extend(past: Study) -> str:
    budget = past.search.budget
    more = {
        "--hyperband-iterations": budget.hyperband_iterations,
        "--max-trials": budget.max_trials,
    }
    ways = [f"a larger {flag} than {value}" for flag, value in more.items() if value is not None]
    return (
        f'"{past.name}" is complete, and --extend says not how far: '
        f"{'give ' + ways[0] if ways else 'a whole grid has no more trials'}."
    )


def is_done(past: Study, limits: Limits) -> bool:
    """Whether earlier sessions left nothing to do, and no file is damaged."""
    is_finished = past.is_complete and is_decided(past, limits.final_seeds)
    return is_finished and not _is_damaged(past, limits.keep_best)


def _is_damaged(past: Study, keep_best: int) -> bool:
    """Whether a file of what a search keeps is damaged or gone."""
    kept = leaders(ranked_trials(past), keep_best)
    folders = [past.trial_folder(leader.trial_id) for leader in kept]
    names = (CHECKPOINT_NAME, PICTURES_NAME)
    files = [past.folder / PICTURES_NAME, *(f / name for f in folders for name in names)]
    return not all(is_whole(file) for file in files)


def samples_due(study: Study) -> int:
    """Posterior samples that the finalists of a search are rescored with."""
    data = study.started.data
    trained = study.epochs_trained * data.train_images
    return count_samples(trained, data.validation_images, len(study.finalists))


def is_rescored(study: Study) -> bool:
    """Whether the finalists that there are now were judged, with the samples they are due."""
    known = study.rescored
    return known is not None and known.rescoring.posterior_samples == samples_due(study)


def is_decided(study: Study, final_seeds: int) -> bool:
    """Whether the winner of a search whose trials are done is decided.

    Args:
        study: A search; there is nothing to judge of a baseline.
        final_seeds: Number of other seeds to train the finalists from.
    """
    if study.started.kind == "baseline" or not study.finalists:
        return True
    return is_rescored(study) and is_retrained(study, final_seeds)


def is_retrained(study: Study, final_seeds: int) -> bool:
    """Whether the present finalists were trained from enough seeds."""
    known = study.retrained
    return final_seeds <= (len(known.retraining.seeds) if known else 0)
