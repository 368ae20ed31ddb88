"""A study's tables: every trial, and what a repetition needs."""

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
    hyperparameter,
    instant,
    listed,
    nats,
    numbered,
    whole,
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
"""Maximum number of lost workers that are listed one by one; more are summed up."""

MAX_REASONS = 5
"""Maximum number of reasons that are listed when lost workers are summed up."""

MAX_NAMED = 10
"""Maximum number of unfinished trials that are listed, likewise."""


@dataclass(frozen=True)
class Column:
    """A column of the leaderboard.

    Attributes:
        title: Heading of the column.
        hint: Explanation of the heading, where it needs one.
        numeric: Whether it is sorted by number and stands on the right.
    """

    title: str
    hint: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the number that it is sorted by, if it is one."""

    text: str
    number: float | None = None


@dataclass(frozen=True)
class Line:
    """A trial's cells; the first two are its rank and its id."""

    trial: Trial
    cells: tuple[Cell, ...]
    wins: bool


@dataclass(frozen=True)
class Leaderboard:
    """Every trial, best first."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Setting:
    """A resolved value of a search, and where it came from."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True)
class Fact:
    """A line of a table: a label and its text."""

    name: str
    value: str


@dataclass(frozen=True)
class Contest:
    """Searches on the same data, the best winner first."""

    data_name: str
    studies: tuple[Study, ...]


def rank_trials(study: Study) -> Leaderboard:
    """Ranks the completed trials; then come those under way, then the failed ones."""
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
    """The resolved search, a line a value."""
    origins = study.started.origins
    return tuple(
        Setting(key, value, origins.get(key, "default"))
        for key, value in search.list_settings(study.search)
    )


def list_workers(study: Study) -> tuple[Fact, ...]:
    """What trains in the latest session; nothing where a process does so alone."""
    if not study.sessions:
        return ()
    session = study.sessions[-1]
    kinds = list_worker_kinds(_joined(study)[-1])
    if len(kinds) > 1:
        return tuple(Fact(numbered(kind.numbers).capitalize(), kind.place) for kind in kinds)
    if not kinds:
        return (Fact("Workers", str(session.workers)),) if session.workers > 1 else ()
    count = max(session.workers, len(kinds[0].numbers))
    if count == 1:
        return (Fact("Worker", kinds[0].place),)
    return (Fact("Workers", f"{count}, {kinds[0].place}"),)


def _joined(study: Study) -> list[list[WorkerJoined]]:
    """The workers of each session."""
    starts = [session.time for session in study.sessions]
    found: list[list[WorkerJoined]] = [[] for _ in starts]
    for event in study.workers_joined:
        found[bisect_right(starts, event.time) - 1].append(event)
    return found


def list_incidents(study: Study) -> tuple[str, ...]:
    """Lists what happened to a search other than its trials, one sentence each."""
    return (
        *(f"Extended to {describe_plan(extension.plan)}." for extension in study.extensions),
        *_session_changes(study),
        *_worker_changes(study),
        *map(describe_loss, study.set_aside),
        *_lost_workers(study),
        *(
            f"Trial {trial.trial_id} was tried again after: {retry.error}"
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
            yield f"The session of {instant(now.time)} differs: {'; '.join(changed)}."


def _worker_changes(study: Study) -> Iterator[str]:
    """Workers on machines that are not like that of the search; of devices the facts tell."""
    for session, workers in zip(study.sessions, _joined(study), strict=True):
        alike: dict[str, dict[int, None]] = {}
        for joined in workers:
            own = {"device": session.environment.device, "threads": session.environment.threads}
            changed = changes(session.environment, joined.environment.model_copy(update=own))
            alike.setdefault("; ".join(changed), {})[joined.worker] = None
        for said, numbers in alike.items():
            if said:
                differ = "differs" if len(numbers) == 1 else "differ"
                yield (
                    f"{numbered(sorted(numbers)).capitalize()} of the session of "
                    f"{instant(session.time)} {differ} from the process of the search: {said}."
                )


def _lost_workers(study: Study) -> Iterator[str]:
    if len(study.workers_lost) > MAX_LOSSES:
        yield from _many_losses(study)
        return
    for lost in study.workers_lost:
        doing = "had no trial of this search"
        if lost.trial_id:
            doing = f"trained trial {lost.trial_id}"
        yield (
            f"Worker {lost.worker} was lost on {instant(lost.time)} while it {doing}: "
            f"{_reason(lost)}{_sequel(study, lost)}"
        )


def _reason(lost: WorkerLost) -> str:
    return f"{lost.error.strip().rstrip('.') or 'no message was recorded'}."


def _sequel(study: Study, lost: WorkerLost) -> str:
    """What became of the trial of a lost worker."""
    if lost.trial_id is None:
        return ""
    trial = study.trial(lost.trial_id)
    after = _next_stretch(trial, lost)
    if after is None:
        failed = trial.status == "failed"
        return " The trial failed." if failed else " The trial has not gone on yet."
    where = "in the process of the search" if after.worker is None else f"on worker {after.worker}"
    if after.epoch == trial.epoch_from:
        return f" The trial was begun again {where}."
    return f" The trial went on after epoch {after.epoch} {where}."


def _next_stretch(trial: Trial, lost: WorkerLost) -> TrainingInterval | None:
    return next((one for one in trial.intervals if one.started >= lost.time), None)


def _many_losses(study: Study) -> Iterator[str]:
    losses = study.workers_lost
    (worker, times), *_ = Counter(lost.worker for lost in losses).most_common()
    often = f"; most often worker {worker}, {times} times" if times > 1 else ""
    first, last = instant(losses[0].time), instant(losses[-1].time)
    yield f"Workers were lost {len(losses)} times from {first} to {last}{often}."
    reasons = Counter(map(_reason, losses)).most_common()
    for reason, times in reasons[:MAX_REASONS]:
        yield f"Why a worker was lost, {counted(times, 'time')}: {reason}"
    if len(reasons) > MAX_REASONS:
        yield f"Workers were lost for {counted(len(reasons) - MAX_REASONS, 'other reason')} too."
    yield _many_sequels(study, {lost.trial_id: lost for lost in losses if lost.trial_id})


def _many_sequels(study: Study, last: Mapping[str, WorkerLost]) -> str:
    """What became of the trials that they trained, by the last loss of each."""
    if not last:
        return "None of them trained a trial of this search."
    trials = {trial.trial_id: trial for trial in study.trials}
    over = [trials[one] for one, lost in last.items() if not _next_stretch(trials[one], lost)]
    told = f"They trained {counted(len(last), 'trial')}"
    if not over:
        return f"{told}, which went on."
    named = [f"{trial.trial_id} ({trial.status})" for trial in over[:MAX_NAMED]]
    if len(over) > MAX_NAMED:
        named.append(counted(len(over) - MAX_NAMED, "other"))
    return f"{told}, which went on but for {listed(named)}."


def _corrected_plan(study: Study) -> Iterator[str]:
    announced = study.extensions[-1].plan if study.extensions else study.started.plan
    if study.plan != announced:
        yield (
            f"Announced were {describe_plan(announced)}; after failures it is "
            f"{describe_plan(study.plan)}."
        )


def compare_searches(studies: Sequence[Study]) -> tuple[Contest, ...]:
    """Groups searches that can be compared: those with winners on the same data."""
    groups: dict[str, list[Study]] = {}
    for study in studies:
        if study.winner:
            groups.setdefault(study.started.data.fingerprint, []).append(study)
    return tuple(
        Contest(group[0].started.data.name, tuple(sorted(group, key=_winning_score)))
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
        Column("Config.", "configuration, in the order drawn; its promotions share it"),
        *(Column(name) for name in names),
        Column("Epochs", "absolute: first, last"),
        Column("Seconds"),
        Column("Parameters"),
        Column("Bracket"),
        Column("Rung"),
        Column("Parent", "the trial that this one goes on from", numeric=False),
    )


def _cells(trial: Trial, rank: int | None, names: Sequence[str]) -> tuple[Cell, ...]:
    best = trial.best
    losses = (best.val_loss, best.val_reconstruction_loss, best.val_kl_loss) if best else [None] * 3
    values = [trial.hyperparameters.get(name) for name in names]
    return (
        Cell(whole(rank), rank),
        Cell(trial.trial_id),
        *(Cell(nats(loss, 2), loss) for loss in losses),
        Cell(trial.status),
        Cell(str(trial.configuration), trial.configuration),
        *(Cell(hyperparameter(value), value) for value in values),
        Cell(f"{trial.epoch_from + 1}\N{EN DASH}{trial.epoch_to}", trial.epoch_to),
        Cell(f"{trial.duration_s:,.1f}", trial.duration_s),
        Cell(whole(trial.parameters), trial.parameters),
        Cell(str(trial.bracket), trial.bracket),
        Cell(str(trial.rung), trial.rung),
        Cell(trial.parent or NOTHING),
    )


def _winning_score(study: Study) -> float:
    score = study.winner.score if study.winner else None
    return math.inf if score is None else score
