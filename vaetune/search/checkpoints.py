"""Which checkpoints are kept, and how damaged ones are set aside."""

import time
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

from vaetune.errors import ResultsError
from vaetune.study import CHECKPOINT_NAME, Checkpoint, FileSetAside, Journal, trial_folder

DAMAGED_NAME = "checkpoint.damaged"

INTERVAL_S = 10.0
"""Minimum seconds between two checkpoints of a running trial: a kill costs no more training."""


class CheckpointKeeper:
    """The checkpoints of a search: found whole or set aside, kept as long as they are needed.

    Args:
        folder: Folder of the search.
        journal: Journal that records every file that is set aside.
    """

    def __init__(self, folder: Path, journal: Journal) -> None:
        self._folder = folder
        self._journal = journal
        self._written_s: dict[str, float] = {}
        self._waiting: dict[str, Checkpoint] = {}
        found = (folder / "trials").glob(f"*/{CHECKPOINT_NAME}")
        self._trainable = {path.parent.name for path in found}
        self._weights_only: set[str] = set()
        self._told: set[str] = set()

    def begin(self, trial_id: str) -> None:
        """Counts from now how long a trial has trained without a checkpoint."""
        self._written_s[trial_id] = time.monotonic()

    def save(self, trial_id: str, checkpoint: Checkpoint) -> None:
        """Takes a checkpoint that training can continue from, in place of the trial's last one.

        It is written at once if the last one was a while ago, else by `flush`.

        Raises:
            ResultsError: It cannot be written.
        """
        self._waiting[trial_id] = checkpoint
        now_s = time.monotonic()
        if now_s >= self._written_s.setdefault(trial_id, now_s) + INTERVAL_S:
            self.flush(trial_id)

    def flush(self, trial_id: str) -> None:
        """Writes the checkpoint of a trial that waits, if one does.

        Raises:
            ResultsError: It cannot be written.
        """
        checkpoint = self._waiting.pop(trial_id, None)
        if checkpoint is None:
            return
        checkpoint.save(trial_folder(self._folder, trial_id))
        self._written_s[trial_id] = time.monotonic()
        self._trainable.add(trial_id)
        self._weights_only.discard(trial_id)
        self._told.discard(trial_id)

    def flush_all(self) -> None:
        """Writes every checkpoint that waits.

        Raises:
            ResultsError: One cannot be written.
        """
        for trial_id in tuple(self._waiting):
            self.flush(trial_id)

    def find(self, trial_id: str, last_told: int, must_be_there: bool) -> Checkpoint | None:
        """Returns the checkpoint to continue from, or None if there is none.

        One that cannot be read, or is of a later epoch than the journal records, is set
        aside.

        Args:
            trial_id: Id of the trial.
            last_told: The last epoch in the journal.
            must_be_there: Whether the trial ended; before, it may not have been written yet.
        """
        file = trial_folder(self._folder, trial_id) / CHECKPOINT_NAME
        if not file.exists():
            if must_be_there:
                self._tell(trial_id, None)
            return None
        checkpoint = self.best_of(trial_id)
        if checkpoint is None or checkpoint.epoch > last_told:
            self.set_aside(trial_id)
            return None
        return checkpoint if checkpoint.is_trainable else None

    def is_lost(self, trial_id: str, epoch_to: int) -> bool:
        """Whether a leader's checkpoint has to be made again; a damaged one is set aside.

        Args:
            trial_id: Id of the trial.
            epoch_to: The trial's last epoch: a session may have been stopped while it made an
                earlier one again.
        """
        file = trial_folder(self._folder, trial_id) / CHECKPOINT_NAME
        if not file.exists():
            self._tell(trial_id, None)
            return True
        checkpoint = self.best_of(trial_id)
        if checkpoint is None:
            self.set_aside(trial_id)
            return True
        return checkpoint.epoch < epoch_to

    def best_of(self, trial_id: str) -> Checkpoint | None:
        """A checkpoint with the weights of the best epoch, or None if there is no readable one."""
        try:
            return Checkpoint.load(trial_folder(self._folder, trial_id))
        except ResultsError:
            return None

    def set_aside(self, trial_id: str) -> None:
        """Moves a damaged checkpoint out of the way, and journals it."""
        file = trial_folder(self._folder, trial_id) / CHECKPOINT_NAME
        aside = None
        with suppress(FileNotFoundError):
            aside = file.replace(file.with_name(DAMAGED_NAME))
        self.forget(trial_id)
        self._tell(trial_id, aside)

    def forget(self, trial_id: str) -> None:
        """Removes what an earlier attempt at a trial left."""
        (trial_folder(self._folder, trial_id) / CHECKPOINT_NAME).unlink(missing_ok=True)
        self._trainable.discard(trial_id)
        self._weights_only.discard(trial_id)

    def tidy(self, needed: Set[str], leaders: Set[str]) -> None:
        """Removes what no trial needs.

        Args:
            needed: Ids of trials that training may continue from: their checkpoints stay unchanged.
            leaders: Ids of trials whose best weights stay.
        """
        for trial_id in self._trainable - needed:
            if trial_id in leaders:
                self._keep_weights_only(trial_id)
            else:
                self.forget(trial_id)
        for trial_id in self._weights_only - leaders:
            self.forget(trial_id)

    def _keep_weights_only(self, trial_id: str) -> None:
        checkpoint = self.best_of(trial_id)
        if checkpoint is None:
            return  # it is found out, and mended, at the end of the search
        if checkpoint.is_trainable:
            checkpoint.weights_only().save(trial_folder(self._folder, trial_id))
        self._trainable.discard(trial_id)
        self._weights_only.add(trial_id)

    def _tell(self, trial_id: str, aside: Path | None) -> None:
        if trial_id in self._told:
            return
        self._told.add(trial_id)
        file = trial_folder(self._folder, trial_id) / CHECKPOINT_NAME
        self._journal.append(
            FileSetAside(
                file=str(file.relative_to(self._folder)),
                aside=None if aside is None else str(aside.relative_to(self._folder)),
                remedy=f"The epochs of trial {trial_id} that it held are trained again.",
            )
        )
