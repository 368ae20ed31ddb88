"""The state of a trial between its start and its end in a session."""

import time
from dataclasses import dataclass

from vaetune.study import LatentUse, TrialEnded, TrialRetried
from vaetune.training import Completed, Failed


@dataclass
class TrialState:
    """A trial that has begun in this session.

    Attributes:
        trial_id: Id of the trial.
        began_s: Time at which it began in this session, as `time.monotonic` counts.
        earlier_s: Duration in earlier sessions, in seconds.
        attempts: Number of failed attempts in this session.
        parameters: Number of trainable parameters; None before the model is built.
        outcome: Final result; None while something is left to train.
    """

    trial_id: str
    began_s: float
    earlier_s: float
    attempts: int = 0
    parameters: int | None = None
    outcome: Completed | Failed | None = None

    @property
    def score(self) -> float | None:
        """Lowest cost, see `Objective.cost`; None unless the trial completed."""
        return self.outcome.score if isinstance(self.outcome, Completed) else None

    @property
    def latent_use(self) -> LatentUse | None:
        """Active units and KL divergence after the last epoch; None unless the trial completed."""
        return self.outcome.latent_use if isinstance(self.outcome, Completed) else None

    @property
    def failure(self) -> Failed | None:
        """Reason of the failure; None unless the trial failed."""
        return self.outcome if isinstance(self.outcome, Failed) else None

    def fail(self, failed: Failed, max_retries: int) -> TrialRetried | None:
        """Counts a failed attempt, and ends the trial unless it may be tried again.

        Args:
            failed: The failure.
            max_retries: Number of times that the trial may be tried again after a transient
                error.

        Returns:
            An event that announces the next attempt; None if the trial has failed.
        """
        self.attempts += 1
        if failed.is_transient and self.attempts <= max_retries:
            return TrialRetried(
                trial_id=self.trial_id,
                attempt=self.attempts,
                error=failed.error,
                traceback=failed.traceback,
            )
        self.outcome = failed
        return None

    def ended(self) -> TrialEnded:
        """Returns the event that records the end of the trial."""
        outcome, failed, use = self.outcome, self.failure, self.latent_use
        return TrialEnded(
            trial_id=self.trial_id,
            status="completed" if failed is None else "failed",
            score=self.score,
            parameters=self.parameters,
            active_units=use.active_units if use else None,
            val_kl_loss=use.val_kl_loss if use else None,
            collapsed=use.is_collapsed if use else None,
            duration_s=self.earlier_s + time.monotonic() - self.began_s,
            failed_in=failed.epoch if failed else None,
            error=failed.error if failed else None,
            traceback=failed.traceback if failed else None,
            best_val_loss=outcome.best_val_loss if isinstance(outcome, Completed) else None,
        )
