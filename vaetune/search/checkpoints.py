"""Writes and removes checkpoints of trials, and moves damaged ones out of the way."""

import time
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

from vaetune.errors import ResultsError
from vaetune.study import CHECKPOINT_NAME, Checkpoint, FileSetAside, Journal, trial_folder

DAMAGED_NAME = "checkpoint.damaged"

INTERVAL_S = 10.0
"""Seconds between two checkpoints of a trial, at least.

A killed process loses about this much training, or one epoch if that takes longer.
"""


class CheckpointKeeper:
    """Manages the checkpoints of a search.

    It writes them at intervals, moves damaged ones out of the way, and removes those that are no
    longer needed.

    Args:
        folder: Folder of the search.
        journal: Records every checkpoint that is missing or damaged.
    """

    def __init__(self, folder: Path, journal: Journal) -> None:
        self._folder = folder
        self._journal = journal
        self._written_s: dict[str, float] = {}
        self._waiting: dict[str, Checkpoint] = {}
        self._last_written: dict[str, Checkpoint] = {}
        found = (folder / "trials").glob(f"*/{CHECKPOINT_NAME}")
        self._trainable = {path.parent.name for path in found}
        self._weights_only: set[str] = set()
        self._reported: set[str] = set()

    def begin(self, trial_id: str) -> None:
        """Starts the interval until the first checkpoint of a trial is due."""
        self._written_s[trial_id] = time.monotonic()

    def save(self, trial_id: str, checkpoint: Checkpoint) -> None:
        """Replaces the checkpoint of a trial.

        The checkpoint is written now if the last one is at least `INTERVAL_S` old, otherwise by
        `flush`.

        Args:
            trial_id: Id of the trial.
            checkpoint: A checkpoint from which training can continue.

        Raises:
            ResultsError: The file cannot be written.
        """
        self._waiting[trial_id] = checkpoint
        now_s = time.monotonic()
        if now_s >= self._written_s.setdefault(trial_id, now_s) + INTERVAL_S:
            self.flush(trial_id)

    def flush(self, trial_id: str) -> None:
        """Writes the checkpoint of a trial, if it is still in memory.

        Raises:
            ResultsError: The file cannot be written.
        """
        checkpoint = self._waiting.pop(trial_id, None)
        if checkpoint is None:
            return
        checkpoint.save(trial_folder(self._folder, trial_id))
        self._written_s[trial_id] = time.monotonic()
        self._last_written = {trial_id: checkpoint}
        self._trainable.add(trial_id)
        self._weights_only.discard(trial_id)
        self._reported.discard(trial_id)

    def flush_all(self) -> None:
        """Writes all checkpoints that are still in memory.

        Raises:
            ResultsError: A file cannot be written.
        """
        for trial_id in tuple(self._waiting):
            self.flush(trial_id)

    def find(self, trial_id: str, last_epoch: int, must_exist: bool) -> Checkpoint | None:
        """Finds the checkpoint from which a trial or its promotion continues.

        A checkpoint is moved out of the way if it is damaged, or if it is of a later epoch than
        the journal holds.

        Args:
            trial_id: Id of the trial.
            last_epoch: Last epoch, absolute, that the journal holds of the trial.
            must_exist: Whether to record a missing checkpoint. A trial that has not ended may not
                have written its first one.

        Returns:
            The checkpoint, or None if training cannot continue from one.
        """
        file = trial_folder(self._folder, trial_id) / CHECKPOINT_NAME
        if not file.exists():
            if must_exist:
                self._report(trial_id, None)
            return None
        checkpoint = self.load(trial_id)
        if checkpoint is None or checkpoint.epoch > last_epoch:
            self.set_aside(trial_id)
            return None
        return checkpoint if checkpoint.is_trainable else None

    def is_lost(self, trial_id: str, epoch_to: int) -> bool:
        """Returns whether the checkpoint of an ended trial must be recreated.

        A damaged checkpoint is moved out of the way. A checkpoint of an earlier epoch was left by
        a session that was stopped while it recreated it.

        Args:
            trial_id: Id of the trial.
            epoch_to: Last epoch of the trial, absolute.
        """
        file = trial_folder(self._folder, trial_id) / CHECKPOINT_NAME
        if not file.exists():
            self._report(trial_id, None)
            return True
        checkpoint = self.load(trial_id)
        if checkpoint is None:
            self.set_aside(trial_id)
            return True
        return checkpoint.epoch < epoch_to

    def load(self, trial_id: str) -> Checkpoint | None:
        """Reads the checkpoint of a trial. Returns None if it is missing or damaged."""
        try:
            return Checkpoint.load(trial_folder(self._folder, trial_id))
        except ResultsError:
            return None

    def set_aside(self, trial_id: str) -> None:
        """Moves a damaged checkpoint out of the way, and records that."""
        file = trial_folder(self._folder, trial_id) / CHECKPOINT_NAME
        aside = None
        with suppress(FileNotFoundError):
            aside = file.replace(file.with_name(DAMAGED_NAME))
        self.remove(trial_id)
        self._report(trial_id, aside)

    def remove(self, trial_id: str) -> None:
        """Removes the checkpoint of a trial, if there is one."""
        (trial_folder(self._folder, trial_id) / CHECKPOINT_NAME).unlink(missing_ok=True)
        self._last_written.pop(trial_id, None)
        self._trainable.discard(trial_id)
        self._weights_only.discard(trial_id)

    def remove_unneeded(self, needed: Set[str], leaders: Set[str]) -> None:
        """Removes checkpoints, or parts of them, that no trial needs.

        Args:
            needed: Ids of trials from which training may continue. Their checkpoints are
                unchanged.
            leaders: Ids of trials that keep their best weights.
        """
        for trial_id in self._trainable - needed:
            if trial_id in leaders:
                self._keep_weights_only(trial_id)
            else:
                self.remove(trial_id)
        for trial_id in self._weights_only - leaders:
            self.remove(trial_id)

    def _keep_weights_only(self, trial_id: str) -> None:
        # A trial that has just ended need not be read.
        checkpoint = self._last_written.pop(trial_id, None) or self.load(trial_id)
        if checkpoint is None:
            return  # The end of the search finds the damage and repairs it.
        if checkpoint.is_trainable:
            checkpoint.weights_only().save(trial_folder(self._folder, trial_id))
        self._trainable.discard(trial_id)
        self._weights_only.add(trial_id)

    def _report(self, trial_id: str, aside: Path | None) -> None:
        if trial_id in self._reported:
            return
        self._reported.add(trial_id)
        file = trial_folder(self._folder, trial_id) / CHECKPOINT_NAME
        self._journal.append(
            FileSetAside(
                file=str(file.relative_to(self._folder)),
                aside=None if aside is None else str(aside.relative_to(self._folder)),
                remedy=f"The epochs of trial {trial_id} that it contained are trained again.",
            )
        )
