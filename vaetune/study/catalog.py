"""Lists the studies in a results folder, and finds one by name."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from vaetune.config import (
    BASELINES,
    REFERENCE_TRAINING,
    RESERVED_NAMES,
    Likelihood,
    Space,
    closest_match,
    earlier_reference_training,
)
from vaetune.errors import JournalError, ResultsError
from vaetune.study.builder import load_study
from vaetune.study.journal import JOURNAL_NAME
from vaetune.study.notebook import MISSING, describe_trial, table
from vaetune.study.study import Study


@dataclass(frozen=True, repr=False)
class StudyCatalog(Sequence[Study]):
    """The searches, or the baselines, of a results folder: a sequence of studies.

    Attributes:
        folder: The results folder, or its folder of baselines.
        studies: All studies that have begun, the latest started first.
        unreadable: Folder name of each study with an unreadable journal, mapped to the reason.
    """

    folder: Path
    studies: tuple[Study, ...]
    unreadable: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.studies)

    @overload
    def __getitem__(self, index: int) -> Study: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Study, ...]: ...

    def __getitem__(self, index: int | slice) -> Study | tuple[Study, ...]:
        return self.studies[index]

    def __repr__(self) -> str:
        unreadable = f", unreadable: {', '.join(self.unreadable)}" if self.unreadable else ""
        names = ", ".join(study.name for study in self.studies) or "no studies"
        return f"<StudyCatalog of {self.folder}: {names}{unreadable}>"

    def _repr_html_(self) -> str:
        """Shows a row per study in a notebook."""
        rows = [(study.name, study.state, _winner_of(study)) for study in self.studies]
        rows += [(name, "cannot be read", reason) for name, reason in self.unreadable.items()]
        return table(("name", "state", "winner"), rows)

    def find(self, name: str | None = None) -> Study:
        """Returns the study with a name.

        Args:
            name: Name of the study. Default: the most recently started one.

        Raises:
            ResultsError: There is no such study.
            JournalError: Its journal is damaged.
        """
        for study in self.studies:
            if name in (None, study.name):
                return study
        for folder, reason in self.unreadable.items():
            if name in (None, folder):
                raise JournalError(reason)
        where = self.folder
        if not self.studies:
            raise ResultsError(
                f"There is no search in {where} yet. Run `vaetune search hyperband`."
            )
        names = ", ".join(study.name for study in self.studies)
        hint = closest_match(str(name), [study.name for study in self.studies])
        raise ResultsError(f'There is no search "{name}" in {where}.{hint} There are: {names}.')


def _winner_of(study: Study) -> str:
    return describe_trial(study.winner) if study.winner else MISSING


def list_studies(results: str | os.PathLike[str] = "results") -> StudyCatalog:
    """Reads all searches in a results folder.

    Args:
        results: Folder of all results. If it is missing, there are no searches.

    Example:
        >>> for study in vaetune.list_studies():
        ...     print(study.name, study.state)
    """
    return _load_all(Path(results), excluded=RESERVED_NAMES)


def list_baselines(results: Path) -> StudyCatalog:
    """Reads all baselines in a results folder."""
    return _load_all(results / BASELINES)


def find_study(results: Path, name: str | None) -> Study:
    """Returns the study of a name.

    Args:
        results: Folder of all results.
        name: Name of a search, "baselines/NAME", or the path of a study's folder. None: the most
            recently started search.

    Raises:
        ResultsError: There is no such study.
        JournalError: Its journal is damaged.
    """
    if name is None or not _is_path(name):
        return list_studies(results).find(name)
    for folder in (results / name, Path(name)):
        if has_begun(folder):
            return load_study(folder)
    baselines = ", ".join(study.address for study in list_baselines(results).studies)
    raise ResultsError(
        f"There is no search or baseline in {name}. "
        f"There are in {results}: {baselines or 'no baselines'}."
    )


def find_baseline(
    study: Study, results: Path, likelihood: Likelihood | None = None
) -> Study | None:
    """Finds the Keras example that a search can be compared with.

    It has the same data, objective, training settings, seed and largest number of epochs as the
    search, and its network is trained with the same likelihood, because losses of two likelihoods
    cannot be compared. That of a single training, such as a finalist from another seed, may have
    another seed: the nearest one.

    Args:
        study: A search or a single training.
        results: Folder of all results.
        likelihood: Likelihood of the pixels. Default: that of the search.

    Returns:
        The trained Keras example, or None if there is no such run.
    """
    likelihood = likelihood or study.likelihood
    found = [one for one in list_baselines(results).studies if _is_example(one, study, likelihood)]
    nearest = min(found, key=lambda one: abs(one.search.seed - study.search.seed), default=None)
    is_near = nearest and nearest.search.seed == study.search.seed
    return nearest if is_near or study.started.kind == "baseline" else None


def _is_example(baseline: Study, study: Study, likelihood: Likelihood) -> bool:
    """Returns whether a training is a Keras example for a study, from any seed."""
    wanted, other = study.search, baseline.started.search
    return bool(
        baseline.winner
        and baseline.started.data.fingerprint == study.started.data.fingerprint
        and baseline.likelihood == likelihood
        and baseline.objective == study.objective
        and other.training in (REFERENCE_TRAINING, earlier_reference_training(wanted.training))
        and other.budget.max_epochs == wanted.budget.max_epochs
        and other.budget.patience is None
        and other.space == Space()
    )


def find_example(study: Study, results: Path) -> Study | None:
    """Finds the Keras example itself of a search with another likelihood than that of the example.

    Its losses must not be compared with those of the search.

    Args:
        study: A search.
        results: Folder of all results.

    Returns:
        The trained Keras example, or None if `find_baseline` finds it, or if there is no such run.
    """
    if study.likelihood == "bernoulli":
        return None
    return find_baseline(study, results, "bernoulli")


def find_best_trained(study: Study) -> Study:
    """Returns the study that has the best trained model of the winning configuration.

    If another measure than the loss decides, and the finalists were trained from other seeds, it is
    the best of these trainings and of the trial of the search itself; of equal ones, the one with
    the lower loss. Otherwise it is the search.

    Args:
        study: A search.
    """
    winner = study.winner
    if study.measure.is_loss or winner is None or not (study.retrained and study.rescored):
        return study
    measure = study.measure
    rescored, retrained = study.rescored.rescoring, study.retrained.retraining
    own = next((one for one in rescored.finalists if one.trial_id == winner.trial_id), None)
    seeds = next(one for one in retrained.finalists if one.trial_id == winner.trial_id)
    found = {
        name: (measure.cost(use), loss)
        for name, use, loss in zip(seeds.trainings, seeds.values, seeds.losses, strict=True)
        if use is not None and loss is not None
    }
    if own and own.use:
        found[""] = measure.cost(own.use.mean), own.negative_elbo.mean
    best = min(found, key=lambda name: (*found[name], name), default="")
    folder = study.results / BASELINES / best
    return load_study(folder) if best and has_begun(folder) else study


def _is_path(name: str) -> bool:
    """Returns whether a name is the path of a study's folder."""
    return "/" in name or "\\" in name


def has_begun(folder: Path) -> bool:
    """Returns whether a folder holds a study: a journal with a complete first line."""
    try:
        with (folder / JOURNAL_NAME).open("rb") as journal:
            return journal.readline().endswith(b"\n")
    except FileNotFoundError:
        return False
    except OSError:
        return True  # There is a journal. Reading it raises an error that says what is wrong.


def _load_all(folder: Path, excluded: Sequence[str] = ()) -> StudyCatalog:
    studies: list[Study] = []
    unreadable: dict[str, str] = {}
    for path in sorted(folder.glob("*")):
        if path.name in excluded or not path.is_dir() or not has_begun(path):
            continue
        try:
            studies.append(load_study(path))
        except JournalError as error:
            unreadable[path.name] = str(error)
    studies.sort(key=lambda study: study.started.time, reverse=True)
    return StudyCatalog(folder, tuple(studies), unreadable)
