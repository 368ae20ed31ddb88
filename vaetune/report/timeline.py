"""When each trial ran, in a search's working time: its sessions without the breaks between them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from vaetune.study import Study, Trial


@dataclass(frozen=True)
class Span:
    """When a trial ran.

    Attributes:
        lane: Trials of one lane ran one after another; with several workers there are several.
        start_s: Since the search started, without breaks.
        end_s: Likewise; of an unfinished trial, the last sign of it.
    """

    trial_id: str
    lane: int
    start_s: float
    end_s: float


class WorkingTime:
    """Seconds since a search started, without the breaks between its sessions."""

    def __init__(self, study: Study) -> None:
        """Finds the breaks: each from the last sign of a session to the start of the next."""
        moments = sorted(study_moments(study))
        self._start = moments[0]
        starts = [session.time for session in study.sessions[1:]]
        lasts = [moments[max(0, bisect_left(moments, start) - 1)] for start in starts]
        breaks = list(zip(lasts, starts, strict=True))
        self._ends = [end for _, end in breaks]
        self._idle_s = [0.0, *accumulate((end - begin).total_seconds() for begin, end in breaks)]
        self.until_s = self.at(moments[-1])
        """At the last moment that the journal knows of."""

    def at(self, moment: datetime) -> float:
        """The working seconds at a moment."""
        idle_s = self._idle_s[bisect_right(self._ends, moment)]
        return (moment - self._start).total_seconds() - idle_s


def study_moments(study: Study) -> Iterator[datetime]:
    """Every time that a study's journal tells."""
    yield study.started.time
    yield from (session.time for session in study.sessions)
    for trial in study.trials:
        yield trial.started
        yield from (epoch.time for epoch in trial.epochs)
        if trial.ended:
            yield trial.ended
    if study.last_end:
        yield study.last_end.time


def compute_timeline(study: Study, clock: WorkingTime) -> tuple[Span, ...]:
    """When each trial ran, in the order of the study's trials; overlapping ones in other lanes."""
    spans: dict[str, Span] = {}
    free_from: list[float] = []
    for trial in sorted(study.trials, key=lambda trial: (trial.started, trial.trial_id)):
        start_s, end_s = clock.at(trial.started), clock.at(_last_sign(trial))
        lane = next((n for n, end in enumerate(free_from) if end <= start_s), len(free_from))
        free_from[lane : lane + 1] = [end_s]
        spans[trial.trial_id] = Span(trial.trial_id, lane, start_s, end_s)
    return tuple(spans[trial.trial_id] for trial in study.trials)


def _last_sign(trial: Trial) -> datetime:
    seen = [trial.started, *(epoch.time for epoch in trial.epochs)]
    return max(seen if trial.ended is None else [*seen, trial.ended])
