"""Training of a trial: its messages, continuation, promotion and errors."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from comparisons import assert_same_weights
from seeds import assert_keeps_seed
from shared_contexts import context_of
from tiny_searches import IMAGES, TINY, TINY_REFERENCE, changed

from vaetune.config.spec import Budget
from vaetune.data.images import to_unit_interval
from vaetune.data.sources import load_images
from vaetune.errors import DataError
from vaetune.models.build import build_vae
from vaetune.study.collapse import LatentUse
from vaetune.study.records import Assignment
from vaetune.training.context import TrainingContext
from vaetune.training.tasks import Began, Completed, EpochDone, Failed, Progressed, Task, TimeUp
from vaetune.training.trial import train_task

SPEC = changed(TINY, budget=Budget(max_epochs=4))
FIRST = Assignment(
    trial_id="0000",
    configuration=0,
    parent=None,
    bracket=1,
    rung=0,
    epoch_from=0,
    epoch_to=2,
    hyperparameters={**TINY_REFERENCE, "latent_dim": 2, "learning_rate": 0.01},
)
SECOND = FIRST.model_copy(
    update={"trial_id": "0001", "parent": "0000", "rung": 1, "epoch_from": 2, "epoch_to": 4}
)


@pytest.fixture(scope="module")
def context():
    tf.config.experimental.enable_op_determinism()
    return context_of(IMAGES)


def messages_of(context, *lineage, start=None, spec=SPEC, **task):
    return list(train_task(Task(spec, lineage, start, **task), context))


def epochs_of(messages):
    return [message for message in messages if isinstance(message, EpochDone)]


def losses_of(messages):
    return [done.ended.val_loss for done in epochs_of(messages)]


def test_a_trial_reports_its_start_its_epochs_and_its_pictures(context):
    began, *reports, completed = messages_of(context, FIRST)
    vae = build_vae(IMAGES.image_shape, FIRST.hyperparameters)
    parameters = sum(variable.numpy().size for variable in vae.trainable_variables)
    assert began == Began("0000", parameters)
    assert [type(message) for message in reports].count(EpochDone) == 2
    shares = [message.share for message in reports if isinstance(message, Progressed)]
    assert shares.count(0.0) == shares.count(1.0) == 2
    assert [done.ended.epoch for done in epochs_of(reports)] == [1, 2]
    assert [done.checkpoint.epoch for done in epochs_of(reports)] == [1, 2]
    assert completed.score == min(losses_of(reports))
    assert completed.pictures.reconstructions.shape[1:] == IMAGES.image_shape


def test_a_trial_continues_from_its_checkpoint_as_without_interruption(context):
    whole = messages_of(context, FIRST)
    half = epochs_of(whole)[0].checkpoint
    rest = messages_of(context, FIRST, start=half, continues_trial=True)
    assert losses_of(rest) == losses_of(whole)[1:]
    assert_same_weights(epochs_of(rest)[-1].checkpoint, epochs_of(whole)[-1].checkpoint)
    assert rest[-1].score == whole[-1].score, "the score is the best of all epochs of the trial"


def test_a_trial_does_not_seed_tensorflow(context):
    """After a new seed, TensorFlow would optimise all compiled functions again for each trial."""
    assert_keeps_seed(lambda: messages_of(context, FIRST))


def test_a_promotion_continues_after_its_parent_and_is_scored_by_its_own_epochs(context):
    end = epochs_of(messages_of(context, FIRST))[-1].checkpoint
    promoted = messages_of(context, SECOND, start=end)
    assert [done.ended.epoch for done in epochs_of(promoted)] == [3, 4]
    assert promoted[-1].score == min(losses_of(promoted))
    uninterrupted = messages_of(context, FIRST.model_copy(update={"epoch_to": 4}))
    assert losses_of(promoted) == losses_of(uninterrupted)[2:]


def test_ancestors_without_a_checkpoint_are_trained_first(context):
    both = messages_of(context, FIRST, SECOND)
    assert [(d.ended.trial_id, d.ended.epoch) for d in epochs_of(both)] == [
        ("0000", 1),
        ("0000", 2),
        ("0001", 3),
        ("0001", 4),
    ]
    assert both[-1].score == min(losses_of(both)[2:])


def test_a_task_without_trials_computes_pictures_of_the_kept_weights(context):
    whole = messages_of(context, FIRST)
    kept = epochs_of(whole)[-1].checkpoint.weights_only()
    (completed,) = messages_of(context, start=kept, hyperparameters=FIRST.hyperparameters)
    assert (completed.pictures.z_mean == whole[-1].pictures.z_mean).all()


def test_no_epoch_starts_after_the_time_is_up(context):
    assert isinstance(messages_of(context, FIRST, seconds_left=0.0)[-1], TimeUp)
    assert epochs_of(messages_of(context, FIRST, seconds_left=0.0)) == []


def test_a_loss_that_is_not_finite_is_reported_before_the_trial_fails(context):
    diverging = FIRST.model_copy(
        update={"hyperparameters": {**FIRST.hyperparameters, "learning_rate": 1e30}}
    )
    *_, done, failed = messages_of(context, diverging)
    assert done.checkpoint is None
    assert isinstance(failed, Failed)
    assert failed.error.startswith("The ")
    assert f"in epoch {failed.epoch}." in failed.error
    assert not failed.is_transient


@pytest.mark.parametrize(
    ("error", "is_transient"),
    [
        (MemoryError("out of memory"), True),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), True),
        (ValueError("no"), False),
    ],
)
def test_an_error_becomes_a_message(context, monkeypatch, error, is_transient):
    def refuse(*arguments):
        raise error

    monkeypatch.setattr("vaetune.training.context.draw_variables", refuse)
    (failed,) = messages_of(context, FIRST)
    assert (failed.epoch, failed.is_transient) == (None, is_transient)
    assert failed.error.startswith(type(error).__name__)
    assert "refuse" in failed.traceback


def test_promotions_can_continue_from_the_best_epoch(context):
    spec = changed(SPEC, budget=Budget(max_epochs=4, promote_from="best"))
    steep = {**FIRST.hyperparameters, "learning_rate": 0.3}
    first, second = (one.model_copy(update={"hyperparameters": steep}) for one in (FIRST, SECOND))
    end = epochs_of(messages_of(context, first, spec=spec))[-1].checkpoint
    worse = replace(end, weights=tuple(array * 0 for array in end.weights))
    assert losses_of(messages_of(context, second, start=worse, spec=spec)) == losses_of(
        messages_of(context, second, start=end, spec=spec)
    )
    assert isinstance(messages_of(context, second, start=end, spec=spec)[-1], Completed)


@pytest.mark.usefixtures("own_cache")
def test_images_that_change_on_the_disk_stop_the_search_and_fail_no_trial(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (60, 8, 8)).astype(np.uint8))
    messages = train_task(
        Task(SPEC, (FIRST,), None), TrainingContext(load_images(path, {"from_disk": True}))
    )
    while not isinstance(next(messages), EpochDone):
        pass
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="another size or time"):
        list(messages)


# Collapse


def expected_use(context, weights, spec=SPEC):
    """Active units and KL of these weights, as an evaluation measures them."""
    runner = context.runner(FIRST.hyperparameters, spec.training.precision)
    runner.restore(weights)
    z_mean = runner.encode(to_unit_interval(IMAGES.validation.images))
    active = sum(np.var(z_mean[:, d].astype(np.float64)) > 0.01 for d in range(z_mean.shape[1]))
    return LatentUse(active, runner.validate().kl_loss)


def test_the_latent_use_is_that_of_the_last_epoch_not_of_the_best(context):
    low_beta = {**FIRST.hyperparameters, "beta": 0.01}
    long = FIRST.model_copy(update={"hyperparameters": low_beta, "epoch_to": 20})
    *_, last = epochs_of(messages := messages_of(context, long))
    end, measured = last.checkpoint, messages[-1].latent_use
    assert measured == expected_use(context, end.weights)
    assert measured.active_units > 0
    assert measured.val_kl_loss == last.ended.val_kl_loss
    zero_weights = tuple(array * 0 for array in end.weights)
    for changed_end, use in (
        (replace(end, best_weights=zero_weights), measured),
        (replace(end, weights=zero_weights), LatentUse(0, 0.0)),
    ):
        (_, completed) = messages_of(context, long, start=changed_end, continues_trial=True)
        assert completed.latent_use == use


def test_a_trial_resumed_after_its_last_epoch_has_the_same_latent_use(context):
    whole = messages_of(context, FIRST)
    end = epochs_of(whole)[-1].checkpoint
    (_, completed) = messages_of(context, FIRST, start=end, continues_trial=True)
    assert completed.latent_use == whole[-1].latent_use


def test_a_task_that_only_computes_pictures_measures_no_latent_use(context):
    kept = epochs_of(messages_of(context, FIRST))[-1].checkpoint.weights_only()
    (completed,) = messages_of(context, start=kept)
    assert completed.latent_use is None
