"""Finds the checkpoint from which the training of a trial continues."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from vaetune.config import SearchSpec
from vaetune.search.checkpoints import CheckpointKeeper
from vaetune.search.oracles.base import Oracle
from vaetune.search.oracles.control import assignment
from vaetune.study import Assignment, Checkpoint
from vaetune.training import Task


class TaskPlanner:
    """Makes tasks that continue from the latest checkpoint there is.

    A trial continues from its own checkpoint if a session or a worker was interrupted in it.
    Otherwise it continues from the last checkpoint of the trial that it was promoted from. If that
    is lost, the task first trains the lost part of the lineage again.

    Args:
        spec: The search.
        oracle: Oracle of the search, which knows the parent of each trial.
        keeper: Checkpoints of the search.
        last_epochs: Last epoch, absolute, that the journal holds of each trial.
        deadline_s: Time at which to stop, in seconds of `time.monotonic`.
        programs_of: As for `Task`.
    """

    def __init__(
        self,
        spec: SearchSpec,
        oracle: Oracle,
        keeper: CheckpointKeeper,
        last_epochs: Mapping[str, int],
        deadline_s: float = math.inf,
        programs_of: SearchSpec | None = None,
    ) -> None:
        self._spec = spec
        self._programs_of = programs_of
        self._oracle = oracle
        self._keeper = keeper
        self._last_epochs = last_epochs
        self._deadline_s = deadline_s

    def task(self, asked: Assignment, has_ended: bool) -> Task:
        """Returns the task that trains a trial to its end.

        Args:
            asked: Assignment of the trial.
            has_ended: Whether it has ended, so that its checkpoint must exist.
        """
        lineage, start = [asked], self._find_checkpoint(asked, has_ended)
        while start is None and lineage[0].parent is not None:
            parent = assignment(self._oracle, self._oracle.get_trial(lineage[0].parent))
            start = self._find_checkpoint(parent, has_ended=True)
            if start is not None and start.epoch >= self.last_epoch(parent):
                return self._task(lineage, start)
            lineage.insert(0, parent)
        return self._task(lineage, start, continues_trial=start is not None)

    def artifacts_task(self, trial_id: str) -> Task:
        """Returns the task that recreates the artifacts of an ended trial."""
        checkpoint = self._keeper.load(trial_id)
        asked = assignment(self._oracle, self._oracle.get_trial(trial_id))
        return self._task((), checkpoint, hyperparameters=asked.hyperparameters)

    def _task(self, lineage: Sequence[Assignment], start: Checkpoint | None, **others: Any) -> Task:
        return Task(
            self._spec,
            tuple(lineage),
            start,
            seconds_left=self._deadline_s - time.monotonic(),
            programs_of=self._programs_of,
            **others,
        )

    def last_epoch(self, asked: Assignment) -> int:
        """Returns the last epoch of an ended trial, which may have stopped early."""
        return self._last_epochs.get(asked.trial_id, asked.epoch_to)

    def _find_checkpoint(self, asked: Assignment, has_ended: bool) -> Checkpoint | None:
        last = self._last_epochs.get(asked.trial_id)
        return self._keeper.find(asked.trial_id, last, has_ended) if last else None
