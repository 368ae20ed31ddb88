"""Where the training of a trial continues: its own checkpoint, or the last one of its lineage."""

import math
import time
from collections.abc import Mapping

from vaetune.config import SearchSpec
from vaetune.search.checkpoints import CheckpointKeeper
from vaetune.search.oracles.base import Oracle
from vaetune.search.oracles.control import assignment
from vaetune.study import Assignment, Checkpoint
from vaetune.training import Task


class TaskPlanner:
    """Makes tasks that continue from the latest checkpoint there is.

    A trial continues from its own checkpoint if a session or a worker was cut off in it. Otherwise
    it continues from the end of the trial that it was promoted from. If that checkpoint is lost,
    the task trains the lost part of the lineage again first.

    Args:
        spec: The search.
        oracle: Knows the parent of each trial.
        keeper: The checkpoints of the search.
        recorded: The last epoch, absolute, that the journal holds of each trial.
        deadline_s: Time to stop, as `time.monotonic` counts.
    """

    def __init__(
        self,
        spec: SearchSpec,
        oracle: Oracle,
        keeper: CheckpointKeeper,
        recorded: Mapping[str, int],
        deadline_s: float = math.inf,
    ) -> None:
        self._spec = spec
        self._oracle = oracle
        self._keeper = keeper
        self._recorded = recorded
        self._deadline_s = deadline_s

    def task(self, asked: Assignment, has_ended: bool) -> Task:
        """Returns the task that trains a trial to its end.

        Args:
            asked: The trial.
            has_ended: Whether it has ended, so that its checkpoint must exist.
        """
        lineage, start = [asked], self._find_checkpoint(asked, has_ended)
        while start is None and lineage[0].parent is not None:
            parent = assignment(self._oracle, self._oracle.get_trial(lineage[0].parent))
            start = self._find_checkpoint(parent, has_ended=True)
            if start is not None and start.epoch >= self.last_epoch(parent):
                return Task(self._spec, tuple(lineage), start, seconds_left=self._seconds_left)
            lineage.insert(0, parent)
        continues = start is not None
        return Task(self._spec, tuple(lineage), start, continues, self._seconds_left)

    def pictures_task(self, trial_id: str) -> Task:
        """Returns the task that takes the pictures of an ended trial again."""
        kept = self._keeper.best_of(trial_id)
        return Task(self._spec, (), kept, seconds_left=self._seconds_left)

    def last_epoch(self, asked: Assignment) -> int:
        """Returns the last epoch of an ended trial, which may have stopped early."""
        return self._recorded.get(asked.trial_id, asked.epoch_to)

    def _find_checkpoint(self, asked: Assignment, has_ended: bool) -> Checkpoint | None:
        recorded = self._recorded.get(asked.trial_id)
        return self._keeper.find(asked.trial_id, recorded, has_ended) if recorded else None

    @property
    def _seconds_left(self) -> float:
        return self._deadline_s - time.monotonic()
