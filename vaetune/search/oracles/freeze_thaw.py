"""The oracle of freeze-thaw search."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import isfinite
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from vaetune.config import SearchSpec, Value
from vaetune.models import Architecture
from vaetune.search.oracles.base import Oracle
from vaetune.search.oracles.cost import batch_size_of, epoch_cost
from vaetune.search.oracles.decision import Chooser, Forecast, rungs_of
from vaetune.search.oracles.encoding import Configuration, Encoder
from vaetune.search.oracles.observations import Run, surplus
from vaetune.search.oracles.simple import RandomOracle
from vaetune.study import Assignment, DataSummary, Decision, Rung

IMAGES, IMAGE_SHAPE = 5000, (28, 28, 1)
"""Training images, and their height, width and channels, where the image set is not known."""

DRAWN, MOST_DRAWN = 3, 300
"""Configurations that represent a search, relative to its trials, and at most."""


class FreezeThawOracle(Oracle):
    """Freeze-thaw search: paused configurations continue, or new ones begin.

    A Gaussian process of all costs so far predicts the cost of each configuration at its last
    epoch. The configuration with the largest expected improvement per square root of the cost that
    is left trains to its next rung. See `Chooser`.

    What it knows follows from the trials alone. A decision uses the configurations so far, the seed
    and the number of trials, and nothing else: no measured time, and no random state. So a journal
    is replayed by what it recorded, without a Gaussian process, and a stopped search continues as
    if it had not stopped.
    """

    def __init__(self, spec: SearchSpec, hyperparameters: keras_tuner.HyperParameters) -> None:
        super().__init__(spec, hyperparameters)
        self._spec = spec
        self._rungs = rungs_of(spec.budget.max_epochs)
        self._runs: list[Run] = []
        self._places: dict[str, int] = {}
        self._epochs = 0
        self._decisions: dict[str, Decision] = {}
        self._costs: dict[tuple[tuple[str, Value], ...], float] = {}

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the next trial; see `keras_tuner.Oracle.populate_space`."""
        if self.recorded is not None:
            return self._repeat(trial_id, self.recorded)
        most = self._spec.budget.max_trials
        proposal = None
        if most is None or len(self.trials) < most:
            left = self._total_epochs - self._epochs
            proposal = self._chooser.choose(self._runs, len(self.trials), left)
        if proposal is None:
            return {"status": TrialStatus.IDLE if self.ongoing_trials else TrialStatus.STOPPED}
        if proposal.forecast:
            self._decisions[trial_id] = _as_decision(proposal.forecast)
        return self._begin(trial_id, proposal.values, proposal.run, proposal.epoch_to)

    def end_trial(self, trial: Trial) -> None:
        """Records the end of a trial; see `keras_tuner.Oracle.end_trial`."""
        super().end_trial(trial)
        place = self._places[trial.trial_id]
        ended, run = self.trials[trial.trial_id], self._runs[place]
        has_loss = ended.status == TrialStatus.COMPLETED and isfinite(ended.score)
        if has_loss:
            reached = run.running_to or 0
            self._runs[place] = replace(
                run,
                ends=(*run.ends, reached),
                losses=(*run.losses, float(ended.score)),
                running_to=None,
                collapsed=self.heeds_collapse and trial.trial_id in self.collapsed,
            )
        else:
            self._runs[place] = replace(run, running_to=None, has_failed=True)
        for dropped in surplus(self._runs, self._rungs):
            self._runs[dropped] = replace(self._runs[dropped], is_dropped=True)

    def promotable(self) -> set[str]:
        """Returns the ids of ended trials that may still be continued."""
        return {run.last for run in self._runs if run.is_paused(self._rungs[-1])}

    def decision(self, trial_id: str) -> Decision | None:
        """Returns what was expected of a trial that this process chose; None of the first ones."""
        return self._decisions.get(trial_id)

    def bounds(self) -> Rung:
        """Returns the largest possible numbers of trials and epochs."""
        size, first = self.space.size(), self._rungs[0]
        trials = min(self._total_epochs // first, size * len(self._rungs))
        return Rung(
            bracket=0,
            rung=0,
            trials=int(min(trials, self._spec.budget.max_trials or trials)),
            epoch_from=0,
            epoch_to=self.max_epochs,
            most_epochs=int(min(self._total_epochs, size * self.max_epochs)),
        )

    def most_configurations(self) -> float:
        """Returns the largest number of configurations that the search can try."""
        most = self._total_epochs // self._rungs[0]
        return min(most, self._spec.budget.max_trials or most)

    def dry_run_copy(self) -> Oracle:
        """Returns a random search, which stands for this one where configurations are counted."""
        drawn = min(DRAWN * self.bounds().trials, MOST_DRAWN)
        budget = self._spec.budget.model_copy(update={"max_trials": drawn})
        spec = self._spec.model_copy(update={"budget": budget})
        return RandomOracle(spec, self.hyperparameters.copy())

    @property
    def _total_epochs(self) -> int:
        return self._spec.budget.total_epochs or self.max_epochs

    @cached_property
    def _chooser(self) -> Chooser:
        is_bounded = self._spec.data.likelihood == "bernoulli"
        entropy_floor = self.data.entropy_floor if self.data and is_bounded else None
        floor = self._spec.ranked_by.lowest_cost(entropy_floor)
        encoder, given = Encoder(self.space), self.starting_points
        return Chooser(encoder, self._rungs, self.seed, self._cost, floor, given)

    def _cost(self, values: Configuration) -> float:
        """Returns the counted seconds of an epoch of a configuration."""
        sizes = {name: value for name, value in values.items() if name != "learning_rate"}
        key = tuple(sizes.items())
        if key not in self._costs:
            shape, images = _images_of(self.data)
            batch = min(batch_size_of(values, self._spec.training.batch_size), images)
            self._costs[key] = epoch_cost(Architecture.of(shape, values), images, batch)
        return self._costs[key]

    def _repeat(self, trial_id: str, recorded: Assignment) -> dict[str, Any]:
        """Begins the trial that a journal has recorded, if it is possible."""
        place = None
        if recorded.parent is not None:
            place = self._places.get(recorded.parent)
            run = None if place is None else self._runs[place]
            is_possible = run is not None and (run.last, run.epoch, run.running_to) == (
                recorded.parent,
                recorded.epoch_from,
                None,
            )
            if not is_possible:
                return {"status": TrialStatus.STOPPED}
        if recorded.epoch_to not in self._rungs:
            return {"status": TrialStatus.STOPPED}
        return self._begin(trial_id, recorded.hyperparameters, place, recorded.epoch_to)

    def _begin(
        self, trial_id: str, values: Mapping[str, Value], place: int | None, epoch_to: int
    ) -> dict[str, Any]:
        """Returns the response that begins a trial.

        Args:
            trial_id: Id of the trial.
            values: Hyperparameters that the model uses.
            place: Index of the run that continues; None for a new one.
            epoch_to: Last epoch, absolute.
        """
        parent = {}
        if place is None:
            place = len(self._runs)
            self._runs.append(Run(values, trial_id))
        else:
            parent = {"tuner/trial_id": self._runs[place].last}
        run = self._runs[place]
        control = {
            "tuner/epochs": epoch_to,
            "tuner/initial_epoch": run.epoch,
            "tuner/bracket": 0,
            "tuner/round": self._rungs.index(epoch_to),
        }
        self._places[trial_id] = place
        self._epochs += epoch_to - run.epoch
        self._runs[place] = replace(run, last=trial_id, running_to=epoch_to)
        return {"status": TrialStatus.RUNNING, "values": {**values, **parent, **control}}


def _as_decision(forecast: Forecast) -> Decision:
    return Decision(
        expected_loss=forecast.loss,
        low=forecast.low,
        high=forecast.high,
        epoch=forecast.epoch,
        cost_s=forecast.cost_s,
    )


def _images_of(data: DataSummary | None) -> tuple[Sequence[int], int]:
    """Returns the shape and the number of the training images."""
    return (data.image_shape, data.train_images) if data else (IMAGE_SHAPE, IMAGES)
