"""Describes the incidents of a search: changes, lost workers, retries and extensions."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise

from vaetune.report.text.search import describe_plan
from vaetune.report.text.sessions import session_changes
from vaetune.report.text.units import counted, date_time, join_words, name_workers
from vaetune.study import (
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
        changed = session_changes(before, now)
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
    for session, workers in zip(study.sessions, workers_by_session(study), strict=True):
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


def workers_by_session(study: Study) -> list[list[WorkerJoined]]:
    """Groups the workers that joined by session."""
    starts = [session.time for session in study.sessions]
    found: list[list[WorkerJoined]] = [[] for _ in starts]
    for event in study.workers_joined:
        found[bisect_right(starts, event.time) - 1].append(event)
    return found
