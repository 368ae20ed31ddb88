"""Events and journals of made-up searches."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from vaetune.config.names import BASELINES
from vaetune.config.space import REFERENCE
from vaetune.config.spec import Budget, SearchSpec, single_configuration
from vaetune.study.builder import build_study
from vaetune.study.events import (
    EpochEnded,
    FinalistsRescored,
    FinalistsRetrained,
    SearchStarted,
    SessionEnded,
    SessionStarted,
    TrialEnded,
    TrialEvaluated,
    TrialResumed,
    TrialStarted,
    WorkerJoined,
    WorkerLost,
)
from vaetune.study.finalists import FinalistScore, Rescoring, Retraining, SeedScores, rank_by_mean
from vaetune.study.journal import JOURNAL_NAME, Journal
from vaetune.study.records import DataSummary, Environment, Rung
from vaetune.study.scores import Estimate, Evaluation, EvaluationProtocol

START = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PLAN = (
    Rung(bracket=1, rung=0, trials=3, epoch_from=0, epoch_to=1),
    Rung(bracket=1, rung=1, trials=1, epoch_from=1, epoch_to=3),
)
SPEC = SearchSpec(budget=Budget(max_epochs=3))
OPEN_PLAN = (Rung(bracket=0, rung=0, trials=11, epoch_from=0, epoch_to=3, most_epochs=11),)
"""Plan of a freeze-thaw search with the epochs of `SPEC`."""
VALUES = {
    "filters_1": 16,
    "filters_2": 128,
    "dense_units": 64,
    "latent_dim": 8,
    "learning_rate": 0.00212345,
}


def make_data(**changes):
    """The summary of an image set with three classes of digits."""
    defaults = {
        "name": "digits",
        "source": "digits",
        "fingerprint": "ab" * 32,
        "image_shape": (28, 28, 1),
        "train_images": 5000,
        "validation_images": 1000,
        "test_images": 1000,
        "class_names": ("zero", "one", "two"),
        "entropy_floor": 45.5,
    }
    return DataSummary(**defaults | changes)


def make_environment(**changes):
    """The environment of a machine with two cores."""
    defaults = {
        "python": "3.11.2",
        "platform": "Linux",
        "cpu": "a processor",
        "cores": 2,
        "threads": 2,
        "device": "CPU",
        "versions": {"keras": "3.15.1", "tensorflow": "2.21.0"},
        "revision": "f" * 40,
        "command": ("vaetune", "search", "tiny"),
    }
    return Environment(**defaults | changes)


def make_started(name="tiny", *, search=SPEC, kind="search", plan=PLAN, minutes=0, **data):
    """The first event of a search; `data` changes its image set."""
    return SearchStarted(
        time=START + timedelta(minutes=minutes),
        kind=kind,
        name=name,
        search=search,
        origins={"seed": "file"},
        data=make_data(**data),
        plan=plan,
    )


def make_session(**environment):
    """The first event of a session."""
    return SessionStarted(time=START, environment=make_environment(**environment))


def make_joined(worker=1, host="node7", **environment):
    """The event that a worker is ready."""
    described = make_environment(**environment)
    return WorkerJoined(time=START, worker=worker, host=host, environment=described)


def make_session_end(reason="completed"):
    """The last event of a session."""
    return SessionEnded(time=START + timedelta(hours=1), reason=reason)


def make_epoch(trial_id, epoch, val_loss, objective=None):
    """The end of an epoch. Three quarters of the validation loss are reconstruction loss."""
    return EpochEnded(
        time=START,
        trial_id=trial_id,
        epoch=epoch,
        loss=val_loss + 1,
        reconstruction_loss=val_loss * 0.9,
        kl_loss=val_loss * 0.1,
        val_loss=val_loss,
        val_reconstruction_loss=val_loss * 0.75,
        val_kl_loss=val_loss * 0.25,
        train_s=2.0,
        validation_s=0.5,
        objective=objective,
    )


def make_trial_events(
    trial_id,
    losses=(),
    *,
    status="completed",
    configuration=0,
    parent=None,
    rung=0,
    epoch_from=0,
    epoch_to=None,
    hyperparameters=VALUES,
    duration_s=7.5,
    parameters=69_076,
    error=None,
    latent_use=None,
    decision=None,
    uses=None,
):
    """All events of a trial: its start, its epochs and its end.

    Args:
        trial_id: Id of the trial.
        losses: Validation loss of each epoch.
        status: Status at the end; None omits the end.
        latent_use: `LatentUse` after the last epoch; None as in a journal of version 0.1.
        uses: Accuracy of each epoch, if accuracy is the objective.

    Returns:
        A list of events.
    """
    start = TrialStarted(
        time=START,
        trial_id=trial_id,
        configuration=configuration,
        parent=parent,
        bracket=1,
        rung=rung,
        epoch_from=epoch_from,
        epoch_to=epoch_from + max(len(losses), 1) if epoch_to is None else epoch_to,
        hyperparameters=hyperparameters,
        decision=decision,
    )
    values = zip(losses, uses or [None] * len(losses), strict=True)
    epochs = [make_epoch(trial_id, epoch_from + n, *x) for n, x in enumerate(values, start=1)]
    best = 1 - max(uses) if uses else min(losses, default=None)
    if status is None:
        return [start, *epochs]
    end = TrialEnded(
        time=START + timedelta(minutes=1),
        trial_id=trial_id,
        status=status,
        score=best if status == "completed" else None,
        parameters=parameters,
        duration_s=duration_s,
        error=error,
        active_units=latent_use and latent_use.active_units,
        val_kl_loss=latent_use and latent_use.val_kl_loss,
        collapsed=latent_use and latent_use.is_collapsed,
    )
    return [start, *epochs, end]


def make_study(*events, folder=Path("results/tiny"), **started):
    """A study with these events in its first session."""
    return build_study([make_started(**started), make_session(), *events], folder)


class JournalBuilder:
    """Builds the journal of a search with several workers. Each method adds an event.

    Args:
        workers: Number of workers of the first session, which begins at second 0.
        joined: Second at which all workers are ready; None to record no `WorkerJoined`.
        host: Name of the workers' machine.
        folder: Folder of the journal.
        started: Arguments of `make_started`.
    """

    def __init__(
        self, workers=2, *, joined=0, host="node7", folder=Path("results/tiny"), **started
    ):
        self.folder = folder
        self.events = [make_started(**started)]
        self.session(0, workers, joined=joined, host=host)

    def add(self, second, kind, **fields):
        time = {"time": START + timedelta(seconds=second)}
        self.events.append(kind(**fields | time))
        return self

    def session(self, second, workers, *, joined=None, host="node7", **environment):
        described = make_environment(**environment)
        self.add(second, SessionStarted, environment=described, workers=workers)
        for worker in range(1, workers + 1) if joined is not None else ():
            self.join(joined, worker, host, **environment)
        return self

    def join(self, second, worker, host="node7", **environment):
        described = make_environment(**environment)
        return self.add(second, WorkerJoined, worker=worker, host=host, environment=described)

    def begin(self, second, trial_id, worker, **fields):
        defaults = {
            "configuration": int(trial_id),
            "parent": None,
            "bracket": 1,
            "rung": 0,
            "epoch_from": 0,
            "epoch_to": 1,
            "hyperparameters": VALUES,
        }
        return self.add(second, TrialStarted, trial_id=trial_id, worker=worker, **defaults | fields)

    def epoch(self, second, trial_id, epoch=1, val_loss=200.0):
        return self.add(second, EpochEnded, **dict(make_epoch(trial_id, epoch, val_loss)))

    def lose(self, second, worker, trial_id=None, error="killed by signal 9"):
        return self.add(second, WorkerLost, worker=worker, trial_id=trial_id, error=error)

    def resume(self, second, trial_id, worker, epoch=0):
        return self.add(second, TrialResumed, trial_id=trial_id, worker=worker, epoch=epoch)

    def finish(self, second, trial_id, status="completed", **fields):
        defaults = {"duration_s": 7.5, "parameters": 69_076}
        return self.add(second, TrialEnded, trial_id=trial_id, status=status, **defaults | fields)

    def end(self, second, reason="completed"):
        return self.add(second, SessionEnded, reason=reason)

    def study(self):
        return build_study(self.events, self.folder)

    def write(self):
        write_journal(self.folder, self.events)
        return self.study()


def write_journal(folder, events):
    """Writes events to the journal in a folder, and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL_NAME
    with Journal(path) as journal:
        for event in events:
            journal.append(event)
    return path


def write_search(results, name="tiny", *events, **started):
    """Writes the journal of a search to a results folder."""
    return write_journal(results / name, [make_started(name, **started), make_session(), *events])


def write_baseline(results, name="reference", *, like=SPEC, values=REFERENCE, loss=180.0, **data):
    """Writes the journal of a completed baseline."""
    search = single_configuration(values, like.budget.max_epochs, like=like)
    started = make_started(name, search=search, kind="baseline", **data)
    trial = make_trial_events("0000", [loss + 9, loss], hyperparameters=values)
    events = [started, make_session(), *trial, make_session_end()]
    return write_journal(results / BASELINES / name, events)


def make_evaluated(trial_id="0000", epoch=2, *, protocol=None, **values):
    """The evaluation of a trial with three latent dimensions, two of them active."""
    defaults = {
        "protocol": protocol or EvaluationProtocol(seed=0),
        "test_images": 1000,
        "negative_elbo": Estimate(130.5, 1.25),
        "reconstruction": Estimate(110.25, 1.0),
        "kl": Estimate(20.25, 0.125),
        "entropy_floor": 46.0,
        "importance_weighted_bound": Estimate(121.75, 1.125),
        "kl_per_dimension": (12.0, 8.0, 0.25),
        "variance_per_dimension": (0.9, 0.8, 0.001),
        "knn_accuracy": 0.935,
        "psnr": 16.5,
        "ssim": 0.7,
        "ssim_window": 11,
    }
    return TrialEvaluated(
        time=START + timedelta(hours=2),
        trial_id=trial_id,
        epoch=epoch,
        evaluation=Evaluation(**defaults | values),
        duration_s=99.6,
        environment=make_environment(),
    )


def make_rescored(losses, *, behind=0.25, samples=32, left_out=()):
    """The rescoring of finalists, each with a reconstruction loss of 100 nats.

    Args:
        losses: Negative ELBO in nats by trial id and epoch, the lowest first.
        behind: Standard error of the difference to the first finalist, in nats.
        samples: Number of posterior samples per image.
        left_out: Ids of finalists that were not measured.
    """
    lowest = min(losses.values())
    scores = [
        FinalistScore(
            trial_id=trial_id,
            epoch=epoch,
            negative_elbo=Estimate(loss, 1.25),
            reconstruction=Estimate(100.0, 1.0),
            kl=Estimate(loss - 100, 0.125),
            behind=Estimate(loss - lowest, behind if loss > lowest else 0.0),
        )
        for (trial_id, epoch), loss in losses.items()
    ]
    return FinalistsRescored(
        time=START + timedelta(hours=1),
        rescoring=Rescoring(samples, 0, 1000, tuple(scores), tuple(left_out)),
        duration_s=12.5,
    )


def make_retrained(losses, *, epochs=3, configurations=None):
    """The retraining of the configurations of finalists from other seeds.

    Args:
        losses: Losses of all seeds, by trial id.
        epochs: Number of epochs of each training.
        configurations: Numbers of the configurations, by trial id; by default 0, 1, 2, ...
    """
    numbers = configurations or {trial_id: number for number, trial_id in enumerate(losses)}
    count = len(next(iter(losses.values())))
    scores = [
        SeedScores(
            trial_id=trial_id,
            configuration=numbers[trial_id],
            trainings=tuple(f"tiny-{numbers[trial_id]}-seed-{n + 1}" for n in range(count)),
            losses=tuple(of_seeds),
        )
        for trial_id, of_seeds in losses.items()
    ]
    seeds = tuple(range(1, count + 1))
    return FinalistsRetrained(
        time=START + timedelta(hours=1),
        retraining=Retraining(seeds, epochs, 32, rank_by_mean(scores)),
        duration_s=99.0,
    )
