"""Starting points from earlier searches: `best:NAME` and `best:NAME:COUNT`.

They become part of the experiment. A search that is continued has those that its journal records,
whatever has become of the earlier searches.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vaetune.config import ResolvedSearch, SearchSpec, Value, resolve, transfer
from vaetune.errors import ResultsError, SpecError, short_repr
from vaetune.report import counted
from vaetune.study import Study, Trial, find_study, has_begun, load_study, pick

_FLAG = "--start-with"

_REFERENCE = re.compile(r"best:(?P<name>.*?[^:])(?::(?P<count>[1-9]\d*))?")


def resolve_with_starting_points(
    path: Path,
    flags: Mapping[str, object],
    references: Sequence[str],
    results: Path,
    overwrite: bool = False,
) -> tuple[ResolvedSearch, tuple[str, ...]]:
    """Reads a search file, and lets the search begin with configurations of earlier ones.

    Args:
        path: The search file.
        flags: Values of options, by key of the search file.
        references: Earlier searches, such as "best:NAME" or "best:NAME:3". They replace the
            starting points of the file.
        results: Folder of all results.
        overwrite: Whether earlier results of this search are discarded.

    Returns:
        The search, and sentences about what its space does not contain.

    Raises:
        SpecError: A reference cannot be read, or nothing of a configuration lies in the space.
        ResultsError: There is no such search, or it has too few completed configurations.
    """
    search = resolve(path, {**flags, "start_with": ()})
    folder = results / search.name
    past = load_study(folder) if not overwrite and has_begun(folder) else None
    notes: list[str] = []
    if past and past.started.start_from == tuple(references):
        points = past.search.start_with or ()
    else:
        points = tuple(_transferred(references, search.spec, results, notes))
    resolved = resolve(path, {**flags, "start_with": points})
    return replace(resolved, start_from=tuple(references)), tuple(notes)


def _transferred(
    references: Sequence[str], spec: SearchSpec, results: Path, notes: list[str]
) -> Iterator[Mapping[str, Value]]:
    """Yields each starting point once, and adds sentences to the notes."""
    found: list[Mapping[str, Value]] = []
    for reference in references:
        study, count = _read(reference, results)
        for trial in _best(study, count, reference):
            point, others = transfer(
                {**study.search.fixed_settings, **trial.hyperparameters},
                spec.space,
                spec.fixed_settings,
            )
            here = ", ".join(f"{name} {text}" for name, text in others.items())
            if not point:
                raise SpecError(
                    f"{_FLAG} {reference} expects a configuration with searched values of this "
                    f"space, received trial {trial.trial_id} of {study.folder}"
                    f"{f' with {here}' * bool(here)}. Widen the space, or leave the option out."
                )
            if here:
                notes.append(
                    f"{reference}: these values of trial {trial.trial_id} are not in this space, "
                    f"so the search has its own: {here}."
                )
            if point in found:
                notes.append(
                    f"{reference}: trial {trial.trial_id} repeats a starting point, so it is left "
                    "out."
                )
                continue
            found.append(point)
            yield point


def _read(reference: str, results: Path) -> tuple[Study, int]:
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise SpecError(
            f"{_FLAG} expects best:NAME or best:NAME:COUNT, received {short_repr(reference)}. "
            f"Write, for example, {_FLAG} best:hyperband:3."
        )
    return find_study(results, match["name"]), int(match["count"] or 1)


def _best(study: Study, count: int, reference: str) -> list[Trial]:
    """Returns the best trial of each of the best configurations."""
    pick(study)  # It says what is wrong if no trial has completed.
    trials: dict[int, Trial] = {}
    for trial in study.preference:
        trials.setdefault(trial.configuration, trial)
    if len(trials) < count:
        raise ResultsError(
            f"{_FLAG} {reference} expects {counted(count, 'configuration')}, but "
            f'"{study.name}" has completed only {len(trials)}. Write {_FLAG} '
            f"{reference.rpartition(':')[0]}:{len(trials)}."
        )
    return list(trials.values())[:count]
