"""What each group of choices is worth: a path from the Keras example to a configuration.

The groups of hyperparameters that differ are changed one after the other, until the Keras example
has become the configuration. The order is found greedily from both ends. From the example, the next
group is the one that lowers the loss most. From the configuration, the last group is the one whose
return to the example's values raises the loss least. Both ends advance in turn. Every loss is that
of a training of its own.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from vaetune.config import (
    FAMILY,
    OPTIONAL,
    REFERENCE,
    VALIDATION_LOSS,
    SearchSpec,
    Value,
    experiment_key,
    single_configuration,
    used,
    value_of,
)
from vaetune.study.groups import GROUPS, MAX_PATH_SEEDS, PATH_SEEDS
from vaetune.study.study import Study
from vaetune.study.trial import Trial

Changed = frozenset[str]
"""Names of the groups that have the values of the explained configuration."""


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
        losses: Lowest validation loss after the step from each seed, nats per image.
        gain: Mean loss before the step minus the mean loss after it, nats per image.
    """

    group: str
    changes: Mapping[str, tuple[Value | None, Value | None]]
    losses: tuple[float, ...]
    gain: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """The path from the Keras example to the winner of a search, as far as it was trained.

    It explains the validation loss, whatever the objective of the search is.

    Attributes:
        study: The search.
        trial: Its winner.
        seeds: Random seeds of the trainings.
        trained: Lowest validation loss of the trainings in the results folder, by the key of the
            experiment; infinite if the training failed.
    """

    study: Study
    trial: Trial
    seeds: tuple[int, ...]
    trained: Mapping[str, float]

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
        return find_path(self.groups, self.mean_loss)

    @property
    def order(self) -> tuple[str, ...]:
        """Groups in the order of the path; empty until all of its losses are known."""
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
        return replace(self, trained=trained_losses(self.study, baselines))

    def spec(self, changed: Changed, seed: int) -> SearchSpec:
        """Returns the training of the Keras example with some changed groups."""
        search = self.study.search
        free = search.training.model_copy(update=dict.fromkeys(search.fixed_settings))
        like = search.model_copy(update={"training": free, "objective": VALIDATION_LOSS.name})
        single = single_configuration(configuration(self.values, changed), self.epochs, like)
        description = f"Path to the winner of {self.study.name}: {self._title(changed)}"
        return single.model_copy(update={"seed": seed, "description": description})

    def _title(self, changed: Changed) -> str:
        names = [name for name in self.groups if name in changed]
        if len(names) == len(self.groups):
            return "all values of the winner"
        return " + ".join(names) or "the Keras example"

    def losses(self, changed: Changed) -> tuple[float, ...]:
        """Returns the losses that are known, in the order of the seeds."""
        keys = (experiment_key(self.spec(changed, seed)) for seed in self.seeds)
        return tuple(self.trained[key] for key in keys if key in self.trained)

    def mean_loss(self, changed: Changed) -> float | None:
        """Returns the mean loss of all seeds; None if one of them was not trained."""
        losses = self.losses(changed)
        return statistics.fmean(losses) if len(losses) == len(self.seeds) else None

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Steps of the path, in order; empty until it is complete."""
        states = [frozenset(self.order[:count]) for count in range(len(self.order) + 1)]
        configurations = [configuration(self.values, changed) for changed in states]
        losses = [self.losses(changed) for changed in states]
        return tuple(
            Step(
                group=group,
                changes=_differences(configurations[place], configurations[place + 1]),
                losses=losses[place + 1],
                gain=statistics.fmean(losses[place]) - statistics.fmean(losses[place + 1]),
            )
            for place, group in enumerate(self.order)
        )

    @property
    def example_losses(self) -> tuple[float, ...]:
        """Losses of the Keras example at the beginning of the path, nats per image."""
        return self.losses(frozenset())

    @property
    def spread(self) -> float | None:
        """Standard deviation of a loss between seeds, nats per image; None for a single seed."""
        several = [self.example_losses, *(step.losses for step in self.steps)]
        variances = [statistics.variance(losses) for losses in several if len(losses) > 1]
        return statistics.fmean(variances) ** 0.5 if variances else None


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
    return Explanation(study, study.winner, numbers, trained_losses(study, baselines))


def trained_losses(study: Study, baselines: Iterable[Study]) -> dict[str, float]:
    """Returns the losses of trainings on the images of a search; see `Explanation.trained`."""
    fingerprint = study.started.data.fingerprint
    same_images = (
        baseline
        for baseline in baselines
        if baseline.started.data.fingerprint == fingerprint
        and (baseline.is_complete or baseline.failures)
    )
    return {experiment_key(one.started.search): _loss(one) for one in same_images}


def explain_as_trained(study: Study, baselines: Sequence[Study]) -> Explanation | None:
    """Returns the path with the most seeds that is complete, or else the one to be trained.

    Args:
        study: The search.
        baselines: Trainings in the same results folder.
    """
    most = explain(study, baselines, MAX_PATH_SEEDS)
    if most is None:
        return None
    numbers = range(len(most.example_losses), 0, -1)
    paths = (replace(most, seeds=most.seeds[:number]) for number in numbers)
    whole = next((path for path in paths if path.is_complete), None)
    return whole or replace(most, seeds=most.seeds[:PATH_SEEDS])


def _loss(baseline: Study) -> float:
    loss = baseline.winner.lowest_loss if baseline.winner else None
    return math.inf if loss is None else loss


def changed_groups(values: Mapping[str, Value]) -> tuple[str, ...]:
    """Returns the names of the groups in which a configuration differs from the Keras example."""
    return tuple(
        group
        for group, names in GROUPS.items()
        if any(value_of(values, name) != FAMILY[name].reference for name in names)
    )


def configuration(values: Mapping[str, Value], changed: Changed) -> dict[str, Value]:
    """Returns the Keras example with the values of some groups of a configuration."""
    mixed = {
        name: value_of(values, name) if group in changed else FAMILY[name].reference
        for group, names in GROUPS.items()
        for name in names
    }
    named = used(mixed).items()
    return {name: value for name, value in named if name in REFERENCE or value != OPTIONAL[name]}


def find_path(
    groups: Sequence[str], loss_of: Callable[[Changed], float | None]
) -> tuple[list[str], list[Changed]]:
    """Finds the order of a path, or what has to be trained next.

    Args:
        groups: The groups that differ.
        loss_of: Returns the loss with some groups changed; None if it is not known.

    Returns:
        The order so far, and the changed groups of unknown losses that are needed next. The order
        is complete if there are none.
    """
    head, tail, left = list[str](), list[str](), list(groups)
    missing = [one for one in dict.fromkeys([_set(), _set(*groups)]) if loss_of(one) is None]
    from_example = True
    while left and not missing:
        if from_example:
            options = {group: _set(*head, group) for group in left}
        else:
            options = {group: _set(*head, *left) - {group} for group in left}
        found = {group: loss_of(changed) for group, changed in options.items()}
        missing = [options[group] for group, loss in found.items() if loss is None]
        if missing:
            break
        losses = {group: loss for group, loss in found.items() if loss is not None}
        best = min(left, key=losses.__getitem__)
        left.remove(best)
        head, tail = ([*head, best], tail) if from_example else (head, [best, *tail])
        from_example = not from_example
    return [*head, *tail], missing


def _set(*groups: str) -> Changed:
    return frozenset(groups)


def _label(changed: Changed, groups: Sequence[str]) -> str:
    """Returns a label for a folder, such as "recipe-widths"."""
    if not changed:
        return "explain-example"
    if changed == set(groups):
        return "explain-all"
    return "-".join(["explain", *(g.replace(" ", "-") for g in groups if g in changed)])


def _differences(
    before: Mapping[str, Value], after: Mapping[str, Value]
) -> dict[str, tuple[Value | None, Value | None]]:
    """Returns both values of each hyperparameter that differs between two configurations."""
    full = [used({**OPTIONAL, **REFERENCE, **one}) for one in (before, after)]
    pairs = {name: (full[0].get(name), full[1].get(name)) for name in FAMILY}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
