"""Builds the tables of the page: all trials, settings, workers and incidents."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vaetune.report.analysis.timeline import list_worker_kinds
from vaetune.report.sections.headline import hyperparameter_names
from vaetune.report.text import search
from vaetune.report.text.search import describe_plan
from vaetune.report.text.units import (
    NOTHING,
    counted,
    date_time,
    hyperparameter,
    integer,
    join_words,
    name_workers,
    nats,
)
from vaetune.study import (
    Status,
    Study,
    TrainingInterval,
    Trial,
    WorkerJoined,
    WorkerLost,
    changes,
    describe_loss,
)

MAX_LOSSES = 10
"""Number of lost workers up to which each has its own sentence. More are summarised."""

MAX_REASONS = 5
"""Number of reasons for lost workers that the summary lists."""

MAX_NAMED = 10
"""Number of trials that the summary names."""


@dataclass(frozen=True)
class Column:
    """A column of the leaderboard.

    Attributes:
        title: Title of the column.
        hint: Explanation of the title, or empty.
        numeric: True if the column is sorted by number and aligned to the right.
    """

    title: str
    hint: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """A cell of the leaderboard.

    Attributes:
        text: Text of the cell.
        number: Number by which the column is sorted, or None.
    """

    text: str
    number: float | None = None


@dataclass(frozen=True)
class Line:
    """A row of the leaderboard.

    Attributes:
        trial: Trial of the row.
        cells: Cells of the row. The first two are the rank and the id.
        is_winner: True if the trial is the winner.
    """

    trial: Trial
    cells: tuple[Cell, ...]
    is_winner: bool


@dataclass(frozen=True)
class Leaderboard:
    """All trials of a search, the best first."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Setting:
    """A resolved value of a search and its origin, such as "file" or "flag"."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True)
class Fact:
    """A row of a table with a name and a value."""

    name: str
    value: str


@dataclass(frozen=True)
class SearchGroup:
    """Searches on the same data.

    Attributes:
        data_name: Name of the data.
        studies: Searches, the one with the best winner first.
    """

    data_name: str
    studies: tuple[Study, ...]


def rank_trials(study: Study) -> Leaderboard:
    """Ranks the completed trials, followed by running, stopped and failed ones."""
    names = hyperparameter_names(study)
    ranks = {trial.trial_id: rank for rank, trial in enumerate(study.ranking, start=1)}
    order: dict[Status, int] = {"running": 1, "stopped": 2, "queued": 3, "failed": 4}

    def place(trial: Trial) -> tuple[int, float, str]:
        rank = ranks.get(trial.trial_id)
        score = math.inf if trial.score is None else trial.score
        return (0, rank, "") if rank else (order.get(trial.status, 5), score, trial.trial_id)

    lines = tuple(
        Line(trial, _cells(trial, ranks.get(trial.trial_id), names), trial == study.winner)
        for trial in sorted(study.trials, key=place)
    )
    return Leaderboard(_columns(names), lines)


def list_settings(study: Study) -> tuple[Setting, ...]:
    """Lists the resolved values of a search."""
    origins = study.started.origins
    return tuple(
        Setting(key, value, origins.get(key, "default"))
        for key, value in search.list_settings(study.search)
    )


def list_workers(study: Study) -> tuple[Fact, ...]:
    """Describes the workers of the latest session; empty if there were no workers."""
    if not study.sessions:
        return ()
    session = study.sessions[-1]
    kinds = list_worker_kinds(_joined(study)[-1])
    if len(kinds) > 1:
        return tuple(Fact(name_workers(kind.numbers).capitalize(), kind.place) for kind in kinds)
    if not kinds:
        return (Fact("Workers", str(session.workers)),) if session.workers > 1 else ()
    count = max(session.workers, len(kinds[0].numbers))
    if count == 1:
        return (Fact("Worker", kinds[0].place),)
    return (Fact("Workers", f"{count}, {kinds[0].place}"),)


def _joined(study: Study) -> list[list[WorkerJoined]]:
    """The workers that joined, by session."""
    starts = [session.time for session in study.sessions]
    found: list[list[WorkerJoined]] = [[] for _ in starts]
    for event in study.workers_joined:
        found[bisect_right(starts, event.time) - 1].append(event)
    return found


def list_incidents(study: Study) -> tuple[str, ...]:
    """Describes extensions, changes, lost workers and retries of a search in sentences."""
    return (
        *(f"Extended to {describe_plan(extension.plan)}." for extension in study.extensions),
        *_session_changes(study),
        *_worker_changes(study),
        *map(describe_loss, study.set_aside),
        *_lost_workers(study),
        *(
            f"Trial {trial.trial_id} was retried after this error: {retry.error}"
            for trial in study.trials
            for retry in trial.retries
        ),
        *_corrected_plan(study),
    )


def _session_changes(study: Study) -> Iterator[str]:
    for before, now in pairwise(study.sessions):
        changed = changes(before.environment, now.environment)
        if before.workers != now.workers:
            changed.append(f"workers: {before.workers} -> {now.workers}")
        if changed:
            yield (
                f"The session of {date_time(now.time)} differs from the one before: "
                f"{'; '.join(changed)}."
            )


def _worker_changes(study: Study) -> Iterator[str]:
    """Describes workers on machines that differ from the machine of the search.

    Devices and threads are left out, because `list_workers` shows them.
    """
    for session, workers in zip(study.sessions, _joined(study), strict=True):
        groups: dict[str, dict[int, None]] = {}
        for joined in workers:
            same = {"device": session.environment.device, "threads": session.environment.threads}
            changed = changes(session.environment, joined.environment.model_copy(update=same))
            groups.setdefault("; ".join(changed), {})[joined.worker] = None
        for difference, numbers in groups.items():
            if difference:
                verb = "differs" if len(numbers) == 1 else "differ"
                yield (
                    f"{name_workers(sorted(numbers)).capitalize()} of the session of "
                    f"{date_time(session.time)} {verb} from the process of the search: "
                    f"{difference}."
                )


def _lost_workers(study: Study) -> Iterator[str]:
    if len(study.workers_lost) > MAX_LOSSES:
        yield from _summarise_lost_workers(study)
        return
    for lost in study.workers_lost:
        task = f"training trial {lost.trial_id}" if lost.trial_id else "idle"
        yield (
            f"Worker {lost.worker} was lost on {date_time(lost.time)} while it was {task}: "
            f"{_reason(lost)}{_consequence(study, lost)}"
        )


def _reason(lost: WorkerLost) -> str:
    return f"{lost.error.strip().rstrip('.') or 'no message was recorded'}."


def _consequence(study: Study, lost: WorkerLost) -> str:
    """Describes how the trial of a lost worker continued."""
    if lost.trial_id is None:
        return ""
    trial = study.trial(lost.trial_id)
    after = _next_interval(trial, lost)
    if after is None:
        failed = trial.status == "failed"
        return " The trial failed." if failed else " The trial has not continued yet."
    where = "in the process of the search" if after.worker is None else f"on worker {after.worker}"
    if after.epoch == trial.epoch_from:
        return f" The trial started again {where}."
    return f" The trial continued after epoch {after.epoch} {where}."


def _next_interval(trial: Trial, lost: WorkerLost) -> TrainingInterval | None:
    return next((one for one in trial.intervals if one.started >= lost.time), None)


def _summarise_lost_workers(study: Study) -> Iterator[str]:
    lost_workers = study.workers_lost
    (worker, times), *_ = Counter(lost.worker for lost in lost_workers).most_common()
    often = f"; most often worker {worker}, {times} times" if times > 1 else ""
    first, last = date_time(lost_workers[0].time), date_time(lost_workers[-1].time)
    yield f"Workers were lost {len(lost_workers)} times from {first} to {last}{often}."
    reasons = Counter(map(_reason, lost_workers)).most_common()
    for reason, times in reasons[:MAX_REASONS]:
        yield f"Reason for {counted(times, 'lost worker')}: {reason}"
    if len(reasons) > MAX_REASONS:
        more = counted(len(reasons) - MAX_REASONS, "other reason")
        yield f"There were {more} for lost workers."
    yield _summarise_trials(study, {lost.trial_id: lost for lost in lost_workers if lost.trial_id})


def _summarise_trials(study: Study, last: Mapping[str, WorkerLost]) -> str:
    """Describes how the trials of lost workers continued.

    Args:
        study: Search to describe.
        last: Last loss of a worker for each trial, by id of the trial.
    """
    if not last:
        return "None of them was training a trial of this search."
    trials = {trial.trial_id: trial for trial in study.trials}
    ended = [trials[one] for one, lost in last.items() if not _next_interval(trials[one], lost)]
    text = f"They were training {counted(len(last), 'trial')}"
    if not ended:
        return f"{text}. All of them continued."
    named = [f"{trial.trial_id} ({trial.status})" for trial in ended[:MAX_NAMED]]
    if len(ended) > MAX_NAMED:
        named.append(counted(len(ended) - MAX_NAMED, "other"))
    return f"{text}. All of them continued except {join_words(named)}."


def _corrected_plan(study: Study) -> Iterator[str]:
    announced = study.extensions[-1].plan if study.extensions else study.started.plan
    if study.plan != announced:
        yield (
            f"The plan was {describe_plan(announced)}. Because of failures it is now "
            f"{describe_plan(study.plan)}."
        )


def compare_searches(studies: Sequence[Study]) -> tuple[SearchGroup, ...]:
    """Groups the searches that have a winner by their data; groups of one are left out."""
    groups: dict[str, list[Study]] = {}
    for study in studies:
        if study.winner:
            groups.setdefault(study.started.data.fingerprint, []).append(study)
    return tuple(
        SearchGroup(group[0].started.data.name, tuple(sorted(group, key=_winning_score)))
        for group in groups.values()
        if len(group) > 1
    )


def _columns(names: Sequence[str]) -> tuple[Column, ...]:
    return (
        Column("Rank"),
        Column("Trial", numeric=False),
        Column("Loss", "validation negative ELBO, nats per image"),
        Column("Recon.", "reconstruction, nats per image"),
        Column("KL", "nats per image"),
        Column("Status", numeric=False),
        Column("Config.", "number of the configuration; promotions have the same number"),
        *(Column(name) for name in names),
        Column("Epochs", "first and last epoch, absolute"),
        Column("Seconds"),
        Column("Parameters"),
        Column("Bracket"),
        Column("Rung"),
        Column("Parent", "trial that this trial continues", numeric=False),
    )


def _cells(trial: Trial, rank: int | None, names: Sequence[str]) -> tuple[Cell, ...]:
    best = trial.best
    losses = (best.val_loss, best.val_reconstruction_loss, best.val_kl_loss) if best else [None] * 3
    values = [trial.hyperparameters.get(name) for name in names]
    return (
        Cell(integer(rank), rank),
        Cell(trial.trial_id),
        *(Cell(nats(loss, 2), loss) for loss in losses),
        Cell(trial.status),
        Cell(str(trial.configuration), trial.configuration),
        *(Cell(hyperparameter(value), value) for value in values),
        Cell(f"{trial.epoch_from + 1}\N{EN DASH}{trial.epoch_to}", trial.epoch_to),
        Cell(f"{trial.duration_s:,.1f}", trial.duration_s),
        Cell(integer(trial.parameters), trial.parameters),
        Cell(str(trial.bracket), trial.bracket),
        Cell(str(trial.rung), trial.rung),
        Cell(trial.parent or NOTHING),
    )


def _winning_score(study: Study) -> float:
    score = study.winner.score if study.winner else None
    return math.inf if score is None else score
