"""A study's tables: every trial, and what a repetition needs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vaetune import summary
from vaetune.environment import changes
from vaetune.journal import describe_loss
from vaetune.report.answer import hyperparameter_names
from vaetune.report.wording import NOTHING, hyperparameter, instant, nats, whole
from vaetune.study import Status, Study, Trial
from vaetune.summary import describe_plan


@dataclass(frozen=True)
class Column:
    """A column of the leaderboard.

    Attributes:
        title: What stands above it.
        hint: What it means, where the title does not say.
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
        for key, value in summary.list_settings(study.search)
    )


def list_incidents(study: Study) -> tuple[str, ...]:
    """What happened to a search beside its trials, a sentence each."""
    return (
        *(f"Extended to {describe_plan(extension.plan)}." for extension in study.extensions),
        *_session_changes(study),
        *map(describe_loss, study.set_aside),
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
        if changed:
            yield f"The session of {instant(now.time)} differs: {'; '.join(changed)}."


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
