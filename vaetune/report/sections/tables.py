"""Builds the tables of the page: all trials, settings, workers and groups of searches."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vaetune.config import FAMILY, LIKELIHOODS, Objective
from vaetune.report.analysis.timeline import list_worker_kinds
from vaetune.report.sections.headline import hyperparameter_names
from vaetune.report.sections.incidents import workers_by_session
from vaetune.report.text import search
from vaetune.report.text.collapse import describe_status
from vaetune.report.text.units import (
    NOTHING,
    hyperparameter,
    integer,
    join_words,
    name_workers,
    nats,
    rough,
)
from vaetune.study import (
    Status,
    Study,
    Trial,
)


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

    @property
    def objective(self) -> Objective:
        """The objective that the searches share."""
        return self.studies[0].objective


def rank_trials(study: Study) -> Leaderboard:
    """Ranks the completed trials, followed by running, stopped and failed ones."""
    names = hyperparameter_names(study)
    ranks = {trial.trial_id: rank for rank, trial in enumerate(study.ranking, start=1)}
    order: dict[Status, int] = {"running": 1, "stopped": 2, "queued": 3, "failed": 4}

    def place(trial: Trial) -> tuple[int, tuple[float, float], str]:
        rank = ranks.get(trial.trial_id)
        if rank:
            return 0, (rank, 0.0), ""
        return order.get(trial.status, 5), trial.rank, trial.trial_id

    lines = tuple(
        Line(trial, _cells(trial, ranks.get(trial.trial_id), names), trial == study.winner)
        for trial in sorted(study.trials, key=place)
    )
    return Leaderboard(_columns(names, study.objective), lines)


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
    kinds = list_worker_kinds(workers_by_session(study)[-1])
    if len(kinds) > 1:
        return tuple(Fact(name_workers(kind.numbers).capitalize(), kind.place) for kind in kinds)
    if not kinds:
        return (Fact("Workers", str(session.workers)),) if session.workers > 1 else ()
    count = max(session.workers, len(kinds[0].numbers))
    if count == 1:
        return (Fact("Worker", kinds[0].place),)
    return (Fact("Workers", f"{count}, {kinds[0].place}"),)


def compare_searches(studies: Sequence[Study]) -> tuple[SearchGroup, ...]:
    """Groups the searches that have a winner by data, likelihood and objective.

    Groups of one are left out. Losses of two likelihoods cannot be compared, nor can searches of
    two objectives.
    """
    groups: dict[tuple[str, str, str], list[Study]] = {}
    for study in studies:
        if study.winner:
            key = (study.started.data.fingerprint, study.likelihood, study.objective.name)
            groups.setdefault(key, []).append(study)
    return tuple(
        SearchGroup(_describe_group(group[0]), tuple(sorted(group, key=_winning_score)))
        for group in groups.values()
        if len(group) > 1
    )


def describe_objectives(studies: Iterable[Study]) -> str:
    """Says which searches are not compared because of their objectives; empty if all are."""
    titles: dict[str, dict[str, None]] = {}
    for study in studies:
        titles.setdefault(study.started.data.fingerprint, {})[study.objective.title] = None
    several = next((list(one) for one in titles.values() if len(one) > 1), None)
    if several is None:
        return ""
    return f"Searches of different objectives are not compared: {join_words(several)}."


def _describe_group(study: Study) -> str:
    """The data of a group of searches, and their likelihood and objective if they are others."""
    name = study.started.data.name
    if study.likelihood != "bernoulli":
        name = f"{name}, {LIKELIHOODS[study.likelihood].label} likelihood"
    return name if study.objective.is_loss else f"{name}, by {study.objective.title}"


def _columns(names: Sequence[str], objective: Objective) -> tuple[Column, ...]:
    return (
        Column("Rank"),
        Column("Trial", numeric=False),
        *(() if objective.is_loss else (Column(objective.heading),)),
        Column("Loss", "validation negative ELBO, nats per image"),
        Column("Recon.", "reconstruction, nats per image"),
        Column("KL", "nats per image"),
        Column("Active units", "latent dimensions of all levels in use after the last epoch"),
        Column("Status", numeric=False),
        Column(
            "Config.",
            "number of the configuration; a trial that continues another has the same number",
        ),
        *(Column(name, numeric=not _is_category(name)) for name in names),
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
    objective = trial.objective
    use = () if objective.is_loss else (Cell(rough(objective, trial.score), trial.score),)
    return (
        Cell(integer(rank), rank),
        Cell(trial.trial_id),
        *use,
        *(Cell(nats(loss, 2), loss) for loss in losses),
        Cell(integer(trial.active_units), trial.active_units),
        Cell(describe_status(trial)),
        Cell(str(trial.configuration), trial.configuration),
        *(
            Cell(hyperparameter(value), None if isinstance(value, str) else value)
            for value in values
        ),
        Cell(f"{trial.epoch_from + 1}\N{EN DASH}{trial.epoch_to}", trial.epoch_to),
        Cell(f"{trial.duration_s:,.1f}", trial.duration_s),
        Cell(integer(trial.parameters), trial.parameters),
        Cell(str(trial.bracket), trial.bracket),
        Cell(str(trial.rung), trial.rung),
        Cell(trial.parent or NOTHING),
    )


def _is_category(name: str) -> bool:
    return name in FAMILY and FAMILY[name].kind == "text"


def _winning_score(study: Study) -> tuple[float, float]:
    return study.winner.rank if study.winner else (math.inf, math.inf)
