"""Worker lanes of the timeline, for the page's script."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vaetune.report.analysis.timeline import Timeline, list_worker_kinds
from vaetune.report.analysis.utilisation import compute_utilisation, describe_utilisation
from vaetune.report.sections.columns import Value, significant
from vaetune.report.text.units import NOTHING, numbered, percent
from vaetune.study import Study


@dataclass(frozen=True)
class Lane:
    """A lane of the timeline.

    Attributes:
        label: The number of its worker.
        title: Description of the worker and its share of time spent training.
    """

    label: str
    title: str


@dataclass(frozen=True)
class Bars:
    """When workers trained trials: a bar of the timeline each.

    Attributes:
        trials: Places of the trials in the records.
        lanes: Likewise of the lanes.
        places: Likewise of `Workers.places`; None where that is not known.
        start_s: Start in the search's working time, in seconds.
        end_s: Likewise.
    """

    trials: tuple[int, ...]
    lanes: tuple[int, ...]
    places: tuple[int | None, ...]
    start_s: tuple[Value, ...]
    end_s: tuple[Value, ...]


@dataclass(frozen=True)
class ReferenceSpan:
    """When a worker trained the Keras example: the place of its lane, seconds of working time."""

    lane: int
    start_s: Value
    end_s: Value


@dataclass(frozen=True)
class Mark:
    """A worker that was lost.

    Attributes:
        lane: The place of its lane.
        at_s: Time of the mark in the search's working time, in seconds.
        title: Description of the worker and the reason.
    """

    lane: int
    at_s: Value
    title: str


@dataclass(frozen=True)
class Workers:
    """How workers shared a search.

    Attributes:
        note: Statement of the share of time spent training; empty if unknown.
        kinds: Kinds of workers, if they are not all alike.
        places: Devices, machines and threads of the workers.
    """

    note: str
    kinds: tuple[str, ...]
    places: tuple[str, ...]
    lanes: tuple[Lane, ...]
    bars: Bars
    reference: tuple[ReferenceSpan, ...]
    losses: tuple[Mark, ...]


def compute_workers(study: Study, baseline: Study | None, timeline: Timeline) -> Workers | None:
    if all(worker is None for worker in timeline.lanes):
        return None
    utilisation = compute_utilisation(study, baseline)
    kinds = list_worker_kinds(study.workers_joined)
    places = tuple(dict.fromkeys(span.place for span in timeline.spans if span.place))
    return Workers(
        note=describe_utilisation(utilisation) if utilisation else "",
        kinds=tuple(f"{numbered(one.numbers)}: {one.place}" for one in kinds)
        if len(kinds) > 1
        else (),
        places=places,
        lanes=tuple(_lanes(timeline, utilisation.by_worker if utilisation else {})),
        bars=_bars(study, timeline, places),
        reference=tuple(
            ReferenceSpan(span.lane, significant(span.start_s), significant(span.end_s))
            for span in timeline.reference
        ),
        losses=tuple(
            Mark(lost.lane, significant(lost.at_s), f"worker {lost.worker} was lost: {lost.error}")
            for lost in timeline.losses
        ),
    )


def _lanes(timeline: Timeline, shares: Mapping[int, float]) -> Iterable[Lane]:
    places: dict[int, dict[str, None]] = {}
    for span in timeline.spans:
        if span.place:
            places.setdefault(span.lane, {})[span.place] = None
    for number, worker in enumerate(timeline.lanes):
        if worker is None:
            yield Lane(NOTHING, "trained by the process of the search itself")
            continue
        told = [f"worker {worker}", *places.get(number, ())]
        if worker in shares:
            told.append(f"trained for {percent(shares[worker])} of its time")
        yield Lane(str(worker), "; ".join(told))


def _bars(study: Study, timeline: Timeline, places: Sequence[str]) -> Bars:
    index = {trial.trial_id: number for number, trial in enumerate(study.trials)}
    known = {place: number for number, place in enumerate(places)}
    spans = timeline.spans
    return Bars(
        trials=tuple(index[span.trial_id] for span in spans),
        lanes=tuple(span.lane for span in spans),
        places=tuple(known.get(span.place) for span in spans),
        start_s=tuple(significant(span.start_s) for span in spans),
        end_s=tuple(significant(span.end_s) for span in spans),
    )
