"""What is known of a trial while it runs."""

import time
from dataclasses import dataclass

from vaetune.study import TrialEnded
from vaetune.training import Completed, Failed


@dataclass
class TrialState:
    """A trial that has begun in this session.

    Attributes:
        began_s: Time of its start, as `time.monotonic` counts.
        before_s: Seconds that earlier sessions trained it.
        attempts: Number of failed attempts.
        parameters: Trainable parameters, once the model is built.
        outcome: Its end; None while it runs.
    """

    began_s: float
    before_s: float
    attempts: int = 0
    parameters: int | None = None
    outcome: Completed | Failed | None = None

    @property
    def score(self) -> float | None:
        """The lowest validation loss, nats per image; None if it did not complete."""
        return self.outcome.score if isinstance(self.outcome, Completed) else None

    def ended(self, trial_id: str) -> TrialEnded:
        """Returns the event of its end."""
        failed = self.outcome if isinstance(self.outcome, Failed) else None
        return TrialEnded(
            trial_id=trial_id,
            status="completed" if failed is None else "failed",
            score=self.score,
            parameters=self.parameters,
            duration_s=self.before_s + time.monotonic() - self.began_s,
            failed_in=failed.epoch if failed else None,
            error=failed.error if failed else None,
            traceback=failed.traceback if failed else None,
        )
