"""Converts the timeline of workers to lanes and bars for the page's script."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vaetune.report.analysis.timeline import Timeline, list_worker_kinds
from vaetune.report.analysis.utilisation import compute_utilisation, describe_utilisation
from vaetune.report.sections.columns import Value, round_value
from vaetune.report.text.units import NOTHING, name_workers, percent
from vaetune.study import Study


@dataclass(frozen=True)
class Lane:
    """A lane of the timeline.

    Attributes:
        label: Number of the worker.
        title: Place and utilisation of the worker.
    """

    label: str
    title: str


@dataclass(frozen=True)
class Bars:
    """The bars of the timeline, one for each period in which a worker trained a trial.

    Attributes:
        trials: Indices of the trials in the records.
        lanes: Indices of the lanes.
        places: Indices into `Workers.places`; None if the place is unknown.
        start_s: Start of each bar, in seconds of working time.
        end_s: End of each bar, in seconds of working time.
    """

    trials: tuple[int, ...]
    lanes: tuple[int, ...]
    places: tuple[int | None, ...]
    start_s: tuple[Value, ...]
    end_s: tuple[Value, ...]


@dataclass(frozen=True)
class ReferenceBar:
    """A bar for a period in which a worker trained the Keras example.

    Attributes:
        lane: Index of the lane.
        start_s: Start in seconds of working time.
        end_s: End in seconds of working time.
    """

    lane: int
    start_s: Value
    end_s: Value


@dataclass(frozen=True)
class LossMark:
    """A mark for a worker that was lost.

    Attributes:
        lane: Index of the lane.
        at_s: Time of the loss in seconds of working time.
        title: Number of the worker and the error.
    """

    lane: int
    at_s: Value
    title: str


@dataclass(frozen=True)
class Workers:
    """The workers of a search.

    Attributes:
        note: Sentence about the utilisation; empty if it is unknown.
        kinds: Descriptions of the kinds of workers; empty if all are of the same kind.
        places: Devices, machines and threads of workers.
        lanes: Lanes of the timeline.
        bars: Periods in which workers trained trials.
        reference_bars: Periods in which workers trained the Keras example.
        lost_workers: Marks for lost workers.
    """

    note: str
    kinds: tuple[str, ...]
    places: tuple[str, ...]
    lanes: tuple[Lane, ...]
    bars: Bars
    reference_bars: tuple[ReferenceBar, ...]
    lost_workers: tuple[LossMark, ...]


def compute_workers(study: Study, baseline: Study | None, timeline: Timeline) -> Workers | None:
    """Converts a timeline for the page's script; None if no worker trained.

    Args:
        study: Search to show.
        baseline: Run of the Keras example, or None.
        timeline: Timeline of the search.
    """
    if all(worker is None for worker in timeline.lanes):
        return None
    utilisation = compute_utilisation(study, baseline)
    kinds = list_worker_kinds(study.workers_joined)
    places = tuple(dict.fromkeys(span.place for span in timeline.spans if span.place))
    return Workers(
        note=describe_utilisation(utilisation) if utilisation else "",
        kinds=tuple(f"{name_workers(one.numbers)}: {one.place}" for one in kinds)
        if len(kinds) > 1
        else (),
        places=places,
        lanes=tuple(_lanes(timeline, utilisation.by_worker if utilisation else {})),
        bars=_bars(study, timeline, places),
        reference_bars=tuple(
            ReferenceBar(span.lane, round_value(span.start_s), round_value(span.end_s))
            for span in timeline.reference_spans
        ),
        lost_workers=tuple(
            LossMark(
                lost.lane, round_value(lost.at_s), f"worker {lost.worker} was lost: {lost.error}"
            )
            for lost in timeline.lost_workers
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
        facts = [f"worker {worker}", *places.get(number, ())]
        if worker in shares:
            facts.append(f"trained for {percent(shares[worker])} of its time")
        yield Lane(str(worker), "; ".join(facts))


def _bars(study: Study, timeline: Timeline, places: Sequence[str]) -> Bars:
    index = {trial.trial_id: number for number, trial in enumerate(study.trials)}
    known = {place: number for number, place in enumerate(places)}
    spans = timeline.spans
    return Bars(
        trials=tuple(index[span.trial_id] for span in spans),
        lanes=tuple(span.lane for span in spans),
        places=tuple(known.get(span.place) for span in spans),
        start_s=tuple(round_value(span.start_s) for span in spans),
        end_s=tuple(round_value(span.end_s) for span in spans),
    )
