"""What each group of choices is worth: a path from the Keras example to a configuration.

The groups of hyperparameters that differ are changed one after the other, until the Keras example
has become the configuration. The order is found greedily from both ends. From the example, the next
group is the one that lowers the loss most. From the configuration, the last group is the one whose
return to the example's values raises the loss least. Both ends advance in turn. Every loss is that
of a training of its own. If another measure than the loss chose the winner, it takes the place of
the loss.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from vaetune.config import (
    Objective,
    SearchSpec,
    Space,
    Value,
    experiment_key,
    single_configuration,
)
from vaetune.study.groups import MAX_PATH_SEEDS, PATH_SEEDS
from vaetune.study.path import Changed, changed_groups, configuration, differences, find_path
from vaetune.study.study import Study
from vaetune.study.trial import Trial


@dataclass(frozen=True)
class Outcome:
    """The best epoch of a training.

    Attributes:
        value: Value of the measure, by default the validation loss; infinitely bad if the training
            failed.
        loss: Validation loss, nats per image; infinite if the training failed.
    """

    value: float
    loss: float

    @property
    def has_failed(self) -> bool:
        """Whether the training failed."""
        return not math.isfinite(self.value)


Outcomes = tuple[Outcome, ...]
"""Outcomes of a configuration, in the order of the seeds."""


@dataclass(frozen=True)
class PathTraining:
    """A training that a path needs.

    Attributes:
        spec: The experiment, with one configuration.
        label: Label for its folder, such as "explain-recipe-widths-seed-1".
        title: Difference from the Keras example, such as "recipe + widths".
    """

    spec: SearchSpec
    label: str
    title: str


@dataclass(frozen=True)
class Step:
    """A step of a path.

    Attributes:
        group: Name of the group that changes.
        changes: The example's and the new value of each hyperparameter that changes. None: one of
            the two configurations does not use it.
        outcomes: Outcome after the step from each seed.
        gain: Lead of the mean value after the step over that before it, positive if it is better.
    """

    group: str
    changes: Mapping[str, tuple[Value | None, Value | None]]
    outcomes: Outcomes
    gain: float

    @property
    def mean(self) -> float:
        """Mean value over the seeds."""
        return _mean(self.outcomes)


@dataclass(frozen=True, eq=False)
class Explanation:
    """The path from the Keras example to the winner of a search, as far as it was trained.

    It explains the measure that chose the winner.

    Attributes:
        study: The search.
        trial: Its winner.
        seeds: Random seeds of the trainings.
        trained: Outcomes of the trainings in the results folder, by the key of the experiment.
    """

    study: Study
    trial: Trial
    seeds: tuple[int, ...]
    trained: Mapping[str, Outcome]

    @property
    def measure(self) -> Objective:
        """The measure that chose the winner. Each training has it as its objective."""
        return self.study.measure

    @property
    def found(self) -> float | None:
        """Value of the measure that the winner reached in the search; None if it is not known."""
        if self.measure.is_loss:
            return self.trial.lowest_loss
        if self.measure == self.study.objective:
            return self.trial.score
        scores = self.study.rescored.rescoring.finalists if self.study.rescored else ()
        own = next((one for one in scores if one.trial_id == self.trial.trial_id), None)
        return own.use.mean if own and own.use else None

    @property
    def epochs(self) -> int:
        """Number of epochs of each training."""
        return self.study.search.budget.max_epochs

    @cached_property
    def values(self) -> dict[str, Value]:
        """The configuration, with the hyperparameters that the search has fixed in its settings."""
        return self.study.search.fixed_settings | dict(self.trial.hyperparameters)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Groups in which the configuration differs from the Keras example."""
        return changed_groups(self.values)

    @cached_property
    def _path(self) -> tuple[list[str], list[Changed]]:
        return find_path(self.groups, self._rank)

    @property
    def order(self) -> tuple[str, ...]:
        """Groups in the order of the path; empty until all of its trainings are known."""
        order, missing = self._path
        return () if missing else tuple(order)

    @cached_property
    def missing(self) -> list[PathTraining]:
        """The trainings that are needed next; empty if the path is complete."""
        _, missing = self._path
        return [
            PathTraining(spec, f"{_label(changed, self.groups)}-seed-{seed}", self._title(changed))
            for changed in missing
            for seed in self.seeds
            if experiment_key(spec := self.spec(changed, seed)) not in self.trained
        ]

    @property
    def is_complete(self) -> bool:
        """Whether the path is known."""
        return not self.missing

    @property
    def most_trainings(self) -> int:
        """Number of trainings of the whole path, at most."""
        count = len(self.groups)
        return len(self.seeds) * (2 + max(0, count * (count + 1) // 2 - 1) if count else 0)

    def updated(self, baselines: Iterable[Study]) -> "Explanation":
        """Returns the path with what was trained since.

        Args:
            baselines: Trainings in the results folder.
        """
        return replace(self, trained=trained_outcomes(self.study, baselines))

    def spec(self, changed: Changed, seed: int) -> SearchSpec:
        """Returns the training of the Keras example with some changed groups.

        It has no time limit, because its loss counts only after its last epoch.
        """
        search = self.study.search
        free = search.training.model_copy(update=dict.fromkeys(search.fixed_settings))
        limits = search.limits.model_copy(update={"time_budget": None})
        measured = {"objective": self.measure.name, "choose_by": None}
        like = search.model_copy(update={"training": free, "limits": limits, **measured})
        single = single_configuration(configuration(self.values, changed), self.epochs, like)
        description = f"Path to the winner of {self.study.name}: {self._title(changed)}"
        return single.model_copy(update={"seed": seed, "description": description})

    @cached_property
    def all_programs(self) -> SearchSpec:
        """A search over all values of the path, whose compiled programs train its configurations.

        So a program serves all configurations and seeds with the same structure.
        """
        search = self.spec(frozenset(self.groups), self.seeds[0])
        ends = [configuration(self.values, one) for one in (frozenset(), frozenset(self.groups))]
        return search.model_copy(update={"space": Space.spanning(*ends)})

    def _title(self, changed: Changed) -> str:
        names = [name for name in self.groups if name in changed]
        if len(names) == len(self.groups):
            return "all values of the winner"
        return " + ".join(names) or "the Keras example"

    def outcomes(self, changed: Changed) -> Outcomes:
        """Returns the outcomes that are known, in the order of the seeds."""
        keys = (experiment_key(self.spec(changed, seed)) for seed in self.seeds)
        return tuple(self.trained[key] for key in keys if key in self.trained)

    def _rank(self, changed: Changed) -> tuple[float, float] | None:
        """Returns the cost of the mean value and the mean loss; None if a seed is missing."""
        outcomes = self.outcomes(changed)
        if len(outcomes) < len(self.seeds):
            return None
        loss = statistics.fmean(outcome.loss for outcome in outcomes)
        return self.measure.cost(_mean(outcomes)), loss

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Steps of the path, in order; empty until it is complete."""
        states = [frozenset(self.order[:count]) for count in range(len(self.order) + 1)]
        configurations = [configuration(self.values, changed) for changed in states]
        outcomes = [self.outcomes(changed) for changed in states]
        means = [_mean(one) for one in outcomes]
        return tuple(
            Step(
                group=group,
                changes=differences(configurations[place], configurations[place + 1]),
                outcomes=outcomes[place + 1],
                gain=self.measure.lead(means[place + 1], means[place]),
            )
            for place, group in enumerate(self.order)
        )

    @property
    def example(self) -> Outcomes:
        """Outcomes of the Keras example at the beginning of the path."""
        return self.outcomes(frozenset())

    @property
    def spread(self) -> float | None:
        """Standard deviation of a value between seeds, without failed trainings.

        None if no configuration has two seeds that did not fail.
        """
        several = [self.example, *(step.outcomes for step in self.steps)]
        values = [[one.value for one in outcomes if not one.has_failed] for outcomes in several]
        variances = [statistics.variance(column) for column in values if len(column) > 1]
        return statistics.fmean(variances) ** 0.5 if variances else None


def _mean(outcomes: Outcomes) -> float:
    """Returns the mean value of a configuration over its seeds."""
    return statistics.fmean(outcome.value for outcome in outcomes)


def explain(
    study: Study, baselines: Iterable[Study], seeds: int = PATH_SEEDS
) -> Explanation | None:
    """Returns how the winner of a search differs from the Keras example; None without a winner.

    Args:
        study: The search.
        baselines: Trainings in the same results folder.
        seeds: Number of seeds from which each configuration is trained.
    """
    if study.winner is None:
        return None
    numbers = tuple((study.search.seed + number) % 2**31 for number in range(seeds))
    return Explanation(study, study.winner, numbers, trained_outcomes(study, baselines))


def trained_outcomes(study: Study, baselines: Iterable[Study]) -> dict[str, Outcome]:
    """Returns the outcomes of trainings on the images of a search; see `Explanation.trained`."""
    fingerprint = study.started.data.fingerprint
    same_images = (
        baseline
        for baseline in baselines
        if baseline.started.data.fingerprint == fingerprint
        and (baseline.is_complete or baseline.failures)
    )
    return {experiment_key(one.started.search): _outcome(one) for one in same_images}


def explain_as_trained(study: Study, baselines: Sequence[Study]) -> Explanation | None:
    """Returns the path with the most seeds that is complete, or else the one to be trained.

    Args:
        study: The search.
        baselines: Trainings in the same results folder.
    """
    most = explain(study, baselines, MAX_PATH_SEEDS)
    if most is None:
        return None
    numbers = range(len(most.example), 0, -1)
    paths = (replace(most, seeds=most.seeds[:number]) for number in numbers)
    whole = next((path for path in paths if path.is_complete), None)
    return whole or replace(most, seeds=most.seeds[:PATH_SEEDS])


def _outcome(baseline: Study) -> Outcome:
    best = baseline.winner.best if baseline.winner else None
    if best is None:
        return Outcome(baseline.objective.value(math.inf), math.inf)
    return Outcome(best.value, best.val_loss)


def _label(changed: Changed, groups: Sequence[str]) -> str:
    """Returns a label for a folder, such as "recipe-widths"."""
    if not changed:
        return "explain-example"
    if changed == set(groups):
        return "explain-all"
    return "-".join(["explain", *(g.replace(" ", "-") for g in groups if g in changed)])
