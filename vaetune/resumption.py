"""What earlier sessions of a search left in its folder, and whether it can be gone on with.

Needs no TensorFlow: what is refused is refused at once.
"""

import shutil
from fnmatch import fnmatch
from pathlib import Path

from vaetune.archive import is_whole
from vaetune.checkpoint import CHECKPOINT_NAME
from vaetune.data import ImageSet
from vaetune.errors import ResultsError
from vaetune.folding import load_study
from vaetune.journal import JOURNAL_NAME, FileSetAside, lock_results
from vaetune.pictures import PICTURES_NAME
from vaetune.rescoring import count_samples
from vaetune.retention import leaders, standings
from vaetune.search_file import ResolvedSearch
from vaetune.shelf import has_begun
from vaetune.spec import Limits, SearchSpec, differences, is_larger
from vaetune.study import Study, refuse_reserved_name

DISCARDED = "journal.discarded"
_TRIALS = "trials"
_ORPHANS = "trials.orphaned"
_TORN = "journal.torn-*"
_OWN_FILES = (
    JOURNAL_NAME,
    DISCARDED,
    _TORN,
    PICTURES_NAME,
    _TRIALS,
    f"{_ORPHANS}*",
    ".lock",
    ".holder",
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
    refuse_reserved_name(resolved.name)
    folder = results / resolved.name
    refuse_foreign_files(folder)
    if not folder.exists():
        return True
    with lock_results(folder):
        past = None if overwrite else past_of(folder)
    if past is None:
        return True
    refuse_changes(past, resolved.spec, images, folder, extend)
    grows = extend and is_larger(resolved.spec.budget, past.search.budget)
    return grows or not is_done(past, resolved.spec.limits)


def past_of(folder: Path) -> Study | None:
    return load_study(folder) if has_begun(folder) else None


def refuse_changes(
    past: Study, spec: SearchSpec, images: ImageSet, folder: Path, extend: bool
) -> None:
    """Lets the experiment go on that was begun, or its extension; refuses any other."""
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


def refuse_foreign_files(folder: Path) -> None:
    try:
        present = sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise ResultsError(f"{folder} cannot be used for results: {error.strerror}.") from error
    foreign = [name for name in present if not any(fnmatch(name, own) for own in _OWN_FILES)]
    if foreign and JOURNAL_NAME not in present:
        raise ResultsError(
            f"{folder} holds files of another program, such as {foreign[0]}. "
            "Name the search otherwise, or write elsewhere with --results."
        )


def discard(folder: Path) -> None:
    """Removes a search; from the first step on it is gone, wherever the rest is cut off."""
    journal = folder / JOURNAL_NAME
    if journal.exists():
        journal.replace(folder / DISCARDED)
    for path in (folder / _TRIALS, *folder.glob(f"{_ORPHANS}*")):
        shutil.rmtree(path, ignore_errors=True)
    for path in (*folder.glob(_TORN), folder / PICTURES_NAME, folder / DISCARDED):
        path.unlink(missing_ok=True)


def set_orphans_aside(folder: Path) -> FileSetAside | None:
    """Keeps trials whose journal is gone, or lacks its first line, out of the way."""
    trials, orphans = folder / _TRIALS, sorted(folder.glob(f"{_ORPHANS}*"))
    if trials.is_dir():
        orphans.append(folder / f"{_ORPHANS}-{len(orphans) + 1}")
        try:
            trials.replace(orphans[-1])
        except OSError as error:
            raise ResultsError(f"{trials} cannot be moved: {error.strerror}.") from error
    if not orphans:
        return None
    torn = folder / JOURNAL_NAME
    has_piece = torn.exists() and torn.stat().st_size > 0
    return FileSetAside(
        file=JOURNAL_NAME,
        aside="journal.torn-0" if has_piece else None,
        remedy="What it told of the trials is lost with it: the search begins anew. The trials' "
        f"files are in {orphans[-1].name}/ until --overwrite removes them.",
    )


def is_done(past: Study, limits: Limits) -> bool:
    """Whether earlier sessions left nothing to do, and nothing of it is damaged."""
    is_finished = past.is_complete and is_judged(past, limits.final_seeds)
    return is_finished and not _is_damaged(past, limits.keep_best)


def _is_damaged(past: Study, keep_best: int) -> bool:
    """Whether a file of what a search keeps is damaged or gone."""
    kept = leaders(standings(past), keep_best)
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


def is_judged(study: Study, final_seeds: int) -> bool:
    """Whether nothing is left to judge of a search whose trials are done.

    Args:
        study: A search; there is nothing to judge of a baseline.
        final_seeds: From how many seeds the finalists are to be trained anew.
    """
    if study.started.kind == "baseline" or not study.finalists:
        return True
    return is_rescored(study) and is_retrained(study, final_seeds)


def is_retrained(study: Study, final_seeds: int) -> bool:
    """Whether the finalists that there are now were trained from so many seeds."""
    known = study.retrained
    return final_seeds <= (len(known.retraining.seeds) if known else 0)
