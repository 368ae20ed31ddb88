"""Estimates of the duration and disk space of a search, from measured steps and its plan."""

from dataclasses import replace

import numpy as np
import pytest
from long_forms import long

from vaetune.cli.check import describe_duration_range
from vaetune.config.space import EARLIER_SPACE, REFERENCE, Choice, Range, Space
from vaetune.search.preflight.cost_model import (
    CostModel,
    DurationRange,
    Timing,
    TrialGroup,
    fit_cost_model,
    size_of,
)
from vaetune.search.preflight.estimate import (
    FASTER,
    RESCORING_FACTOR,
    SLOWER,
    START_S,
    SUGGESTION_S,
    Sharing,
    copies_per_checkpoint,
    disk_bytes,
    estimate_duration,
    extremes,
    group_trials,
    sample_by_size,
    sample_by_structure,
)
from vaetune.study.checkpoint import Checkpoint
from vaetune.study.records import Rung

SHAPE = (28, 28, 1)


def configuration(width, **others):
    return {
        **{"filters_1": width, "filters_2": 2 * width, "dense_units": width, "latent_dim": 2},
        "learning_rate": 1e-3,
        **others,
    }


POOL = [configuration(width) for width in (4, 8, 12, 16, 24, 32)]


def make_cost_model(rates=(1e-3, 1e-10, 1e-9), overhead_s=0.5, batch_size=128, **changed):
    """A cost model with rates in seconds per step, per multiplication and per activation."""
    given = {"image_shape": SHAPE, "train_images": 1000, "validation_images": 200}
    return CostModel(
        **(given | changed),
        batch_size=batch_size,
        rates=rates,
        validation_share=0.3,
        overhead_s=overhead_s,
    )


def measure(cost_model, hyperparameters, batch_size=128):
    """Timing of a configuration that agrees exactly with a cost model."""
    size = size_of(cost_model.image_shape, hyperparameters)
    per_step, per_multiplication, per_activation = cost_model.rates
    per_image = per_multiplication * size.multiplications + per_activation * size.activations
    step_s = per_step + batch_size * per_image
    validation_s = cost_model.validation_share * step_s / batch_size
    timing = Timing(hyperparameters, batch_size, step_s, validation_s, cost_model.overhead_s)
    objective_s = cost_model.objective_images * step_s / batch_size
    return replace(timing, objective_s=objective_s or None)


FAMILY = {
    "gelu": {"activation": "gelu"},
    "stages and stride": {"stages": 3, "output_stride": 2},
    "blocks and groups": {"blocks": 2, "normalization": "group"},
    "batch normalization": {"blocks": 1, "normalization": "batch"},
    "dense": {"encoder": "dense", "decoder": "dense", "dense_layers": 3, "normalization": "batch"},
    "dense encoder": {"encoder": "dense", "stages": 3},
    "dense decoder": {"decoder": "dense", "blocks": 1},
    "two levels": {"levels": 2, "level_channels": 3, "normalization": "group"},
    "three levels": {"levels": 3, "stages": 3, "output_stride": 2, "normalization": "batch"},
}
"""Hyperparameters that add every kind of layer."""


SHAPES = (SHAPE, (19, 17, 3))

CONFIGURATIONS = (
    REFERENCE,
    configuration(5, dense_units=7),
    *(configuration(4, **one) for one in FAMILY.values()),
)

ONE_SHAPE_EACH = [(SHAPES[number % 2], one) for number, one in enumerate(CONFIGURATIONS)]
"""Each configuration with one of the two shapes. Long tests add the other shape."""

OTHER_SHAPE_EACH = [(SHAPES[(number + 1) % 2], one) for number, one in enumerate(CONFIGURATIONS)]


@pytest.mark.parametrize(("shape", "hyperparameters"), [*ONE_SHAPE_EACH, *long(*OTHER_SHAPE_EACH)])
def test_the_parameter_count_equals_that_of_the_model(shape, hyperparameters):
    from vaetune.models.build import build_vae

    counted = build_vae(shape, hyperparameters).count_params()
    assert size_of(shape, hyperparameters).parameters == counted


def test_a_size_is_computed_without_creating_weights(monkeypatch):
    from keras.src.backend.common import variables

    created, create = [], variables.Variable.__init__

    def record(self, *given, **options):
        create(self, *given, **options)
        created.append(self.path)

    monkeypatch.setattr(variables.Variable, "__init__", record)
    assert size_of((24, 24, 1), configuration(3, levels=3)).parameters > 0
    assert [path for path in created if not path.endswith("seed_generator_state")] == []


def test_multiplications_of_all_layers_are_counted():
    hyperparameters = configuration(1, filters_2=2, dense_units=3, latent_dim=4)
    encoder = 4 * 4 * 9 * 1 + 2 * 2 * 9 * 2 + 8 * 3 + 2 * 3 * 4
    decoder = 4 * 8 + 2 * 2 * 9 * 4 + 4 * 4 * 9 * 2 + 8 * 8 * 9 * 1
    assert size_of((8, 8, 1), hyperparameters).multiplications == encoder + decoder


def test_activations_count_the_values_that_layers_write():
    encoder = 16 * 1 + 4 * 2 + 1 + 2 + 2
    decoder = 4 * 2 + 16 * 2 + 64 * 1 + 64 * 1
    assert size_of((8, 8, 1), configuration(1)).activations == encoder + decoder


def test_blocks_and_levels_add_their_multiplications_and_activations():
    plain = size_of((8, 8, 1), configuration(1))
    blocks = size_of((8, 8, 1), configuration(1, blocks=1))
    # A block has two convolutions and an addition; encoder and decoder have two blocks each.
    assert blocks.multiplications - plain.multiplications == 9 * 2 * (
        (16 * 1 + 4 * 4) + (4 * 4 + 16 * 4)
    )
    assert blocks.activations - plain.activations == 3 * (16 * 1 + 4 * 2 + 4 * 2 + 16 * 2)
    levels = size_of((8, 8, 1), configuration(1, levels=2, level_channels=3))
    # Feature maps are 2 x 2 with 2 channels; latent maps have 3 channels.
    convolutions = (2 * 3) + (2 * 3) + (4 * 2) + (2 * 3) + (2 * 3) + (5 * 2)
    assert levels.multiplications - plain.multiplications == 4 * 9 * convolutions


def test_the_fit_recovers_the_rates_of_exact_timings():
    cost_model = make_cost_model()
    measured = [
        measure(cost_model, one, size) for one, size in zip(POOL, (8, 16, 32) * 2, strict=True)
    ]
    found = fit_cost_model(measured, SHAPE, 1000, 200, 128)
    assert found.rates == pytest.approx(cost_model.rates, rel=1e-6)
    assert (found.validation_share, found.overhead_s) == pytest.approx((0.3, 0.5))
    for one in POOL:
        assert found.epoch_s(one) == pytest.approx(cost_model.epoch_s(one))


def test_rates_fitted_to_noisy_timings_are_not_negative():
    cost_model = make_cost_model(rates=(1e-3, 0.0, 1e-9))
    measured = [measure(cost_model, one) for one in POOL[:3]]
    measured[2] = Timing(POOL[2], 128, measured[1].step_s * 0.9, 1e-4, 0.1)
    assert min(fit_cost_model(measured, SHAPE, 1000, 200, 128).rates) >= 0


def test_timings_of_one_configuration_are_enough_to_predict_its_epoch():
    cost_model = make_cost_model()
    found = fit_cost_model([measure(cost_model, REFERENCE)] * 2, SHAPE, 1000, 200, 128)
    assert found.epoch_s(REFERENCE) == pytest.approx(cost_model.epoch_s(REFERENCE), rel=0.05)


def test_an_epoch_consists_of_training_steps_and_validation():
    cost_model = make_cost_model(rates=(0.5, 0.0, 0.0), batch_size=100)
    assert cost_model.epoch_s(REFERENCE) == pytest.approx(10 * 0.5 + 0.3 * 200 * 0.5 / 100)


def test_measuring_the_objective_lengthens_each_epoch():
    """An objective that was timed for one configuration counts for all configurations."""
    plain, measured = make_cost_model(), make_cost_model(objective_images=150.0)
    added = measured.epoch_s(REFERENCE) / plain.epoch_s(REFERENCE) - 1
    assert added == pytest.approx(150 / (1000 + 0.3 * 200))
    timed = [measure(measured, POOL[0]), *(measure(plain, one) for one in POOL[1:])]
    assert fit_cost_model(timed, SHAPE, 1000, 200, 128).objective_images == pytest.approx(150)
    assert fit_cost_model(timed[1:], SHAPE, 1000, 200, 128).objective_images == 0


def test_the_batch_size_of_a_configuration_sets_its_number_of_steps():
    cost_model = make_cost_model(rates=(0.5, 0.0, 0.0), batch_size=100, validation_images=0)
    assert cost_model.epoch_s(configuration(4, batch_size=50)) == pytest.approx(20 * 0.5)


def test_a_batch_is_no_larger_than_the_training_images():
    cost_model = make_cost_model(rates=(0.5, 0.0, 0.0), batch_size=10**6, validation_images=0)
    assert cost_model.epoch_s(REFERENCE) == pytest.approx(0.5)


def test_a_group_of_known_trials_has_an_exact_duration():
    cost_model = make_cost_model()
    estimated = cost_model.duration(TrialGroup(POOL, len(POOL), 3))
    expected = sum(3 * cost_model.epoch_s(one) + 0.5 for one in POOL)
    assert (estimated.low, estimated.middle, estimated.high) == pytest.approx((expected,) * 3)


def test_a_choice_from_a_pool_ranges_from_its_smallest_to_its_largest():
    cost_model = make_cost_model()
    costs = [3 * cost_model.epoch_s(one) + 0.5 for one in POOL]
    estimated = cost_model.duration(TrialGroup(POOL[::-1], 2, 3))
    expected = (sum(costs[:2]), sum(costs) / 3, sum(costs[-2:]))
    assert (estimated.low, estimated.middle, estimated.high) == pytest.approx(expected)


def test_trials_beyond_the_pool_take_as_long_as_its_average():
    cost_model = make_cost_model()
    assert cost_model.duration(TrialGroup(POOL, 60, 1)).middle == pytest.approx(
        10 * cost_model.duration(TrialGroup(POOL, 6, 1)).middle
    )


def rung(number, trials, epoch_from, epoch_to, bracket=1):
    return Rung(
        bracket=bracket, rung=number, trials=trials, epoch_from=epoch_from, epoch_to=epoch_to
    )


def test_promotions_are_drawn_from_the_pool_of_the_first_rung():
    plan = [rung(0, 6, 0, 1), rung(1, 2, 1, 3), rung(0, 1, 0, 3, bracket=0)]
    drawn = {(0, 1): POOL, (0, 0): [REFERENCE]}
    assert group_trials(plan, drawn) == [
        TrialGroup(POOL, 6, 1),
        TrialGroup(POOL, 2, 2),
        TrialGroup([REFERENCE], 1, 3),
    ]


def test_bayesian_suggestions_are_represented_by_the_whole_pool():
    groups = group_trials([rung(0, 6, 0, 9, bracket=0)], {(0, 0): POOL}, initial_trials=4)
    assert groups == [TrialGroup(POOL[:4], 4, 9), TrialGroup(POOL, 2, 9)]


def test_an_estimate_allows_for_faster_and_slower_training():
    cost_model = make_cost_model()
    trained = cost_model.duration(TrialGroup(POOL, 6, 3))
    estimated = estimate_duration(cost_model, [TrialGroup(POOL, 6, 3)], start_s=5.0, suggestions=2)
    assert estimated.low == pytest.approx(trained.low * FASTER + 5.0 + 2 * SUGGESTION_S[0])
    assert estimated.high == pytest.approx(
        trained.high * SLOWER * RESCORING_FACTOR + 5.0 + 2 * SUGGESTION_S[1]
    )
    assert (
        estimated.low
        < trained.middle + 5.0 + 2 * sum(SUGGESTION_S) / 2
        < estimated.middle
        < estimated.high
    )


def training_seconds(groups, workers, longest, oversubscription=1.0):
    """Lowest and highest training time on workers, in seconds, without start and safety factors."""
    estimated = estimate_duration(
        make_cost_model(), groups, 0.0, 0, Sharing(workers, oversubscription, longest)
    )
    (low, high), noise = START_S, SLOWER * RESCORING_FACTOR
    return (estimated.low - low) / FASTER, (estimated.high - high) / noise


def test_workers_share_trials_evenly_at_best_and_wait_for_the_longest_at_worst():
    cost_model, groups = make_cost_model(), [TrialGroup(POOL, 6, 3)]
    alone, longest = cost_model.duration(groups[0]), cost_model.duration(TrialGroup(POOL, 1, 3))
    low, high = training_seconds(groups, 2, TrialGroup(POOL, 1, 3))
    assert low == pytest.approx(alone.low / 2)
    assert high == pytest.approx(alone.high / 2 + longest.high / 2)
    # With more workers than trials, the longest trial determines the duration.
    low, high = training_seconds(groups, 100, TrialGroup(POOL[-1:], 1, 3))
    assert low == pytest.approx(longest.high)
    assert longest.high < high < 1.1 * longest.high


def test_oversubscribed_cores_slow_workers_down_in_proportion():
    groups, longest = [TrialGroup(POOL, 60, 3)], TrialGroup(POOL, 1, 3)
    assert training_seconds(groups, 4, longest, oversubscription=2.0)[0] == pytest.approx(
        training_seconds(groups, 2, longest)[0]
    )


def test_workers_do_not_shorten_a_single_trial():
    alone = TrialGroup(POOL[:1], 1, 3)
    seconds = make_cost_model().duration(alone).low
    assert training_seconds([alone], 2, alone) == pytest.approx((seconds, seconds))


def test_the_extremes_of_a_space_are_its_smallest_and_largest_values():
    low, high = extremes(EARLIER_SPACE, SHAPE)
    assert [low[name] for name in REFERENCE] == [16, 32, 16, 2, pytest.approx(1e-3)]
    assert [high[name] for name in REFERENCE] == [64, 128, 256, 32, pytest.approx(1e-3)]
    space = Space(batch_size=Choice(values=(64, 32)), dense_units=Range(min=4, max=9))
    assert [corner["batch_size"] for corner in extremes(space, SHAPE)] == [32, 64]
    assert [corner["dense_units"] for corner in extremes(space, SHAPE)] == [4, 9]


STRUCTURED = Space(
    encoder=Choice(values=("conv", "dense")),
    decoder=Choice(values=("conv", "dense")),
    activation=Choice(values=("gelu", "silu")),
    blocks=Range(min=0, max=2),
    stages=Range(min=2, max=5),
    output_stride=Choice(values=(1, 2)),
    levels=Range(min=1, max=3),
    level_channels=Range(min=2, max=6),
    dense_layers=Range(min=1, max=2),
)


def test_the_extremes_of_structures_are_possible_configurations():
    low, high = extremes(STRUCTURED, SHAPE)
    assert (high["encoder"], high["decoder"], high["blocks"], high["levels"]) == (
        "conv",
        "conv",
        2,
        3,
    )
    assert (high["output_stride"], high["level_channels"]) == (1, 6)
    assert high["stages"] == 2, "5 stages need 64 x 64 pixels"
    assert "dense_layers" not in high
    assert (low["encoder"], low["decoder"], low["dense_layers"]) == ("dense", "dense", 1)
    assert not {"stages", "blocks", "levels", "level_channels", "output_stride"} & set(low)
    for corner in (low, high):
        assert STRUCTURED.used(corner) == corner
        assert corner["activation"] == "gelu"


def test_extremes_satisfy_the_conditions_of_the_space():
    space = Space(
        levels=Range(min=1, max=3),
        level_channels=Range(min=2, max=6, when={"levels": (3,)}),
        blocks=Choice(values=(0, 1), when={"levels": (1,)}),
    )
    low, high = extremes(space, SHAPE)
    assert (low["levels"], low["blocks"], "level_channels" in low) == (1, 0, False)
    assert (high["levels"], high.get("level_channels"), "blocks" in high) == (3, 6, False)


def test_an_untimed_structure_is_represented_by_its_medium_configuration():
    dense = [configuration(width, encoder="dense", decoder="dense") for width in (4, 8, 16)]
    levels = [configuration(width, levels=2) for width in (4, 8)]
    pool = [*POOL, *dense, *levels]
    assert sample_by_structure(pool, POOL[:1], SHAPE, 4) == [dense[1], levels[0]]
    assert sample_by_structure(pool, POOL[:1], SHAPE, 1) == [dense[1]]
    assert sample_by_structure(POOL, POOL[:1], SHAPE, 4) == []


def test_a_structure_slower_than_its_size_suggests_is_predicted_slower():
    cost_model = make_cost_model()
    slow = [configuration(width, activation="gelu") for width in (4, 16, 32)]
    measured = [measure(cost_model, one) for one in POOL]
    measured += [
        replace(found, step_s=3 * found.step_s)
        for found in (measure(cost_model, one) for one in slow)
    ]
    found = fit_cost_model(measured, SHAPE, 1000, 200, 128)
    assert found.epoch_s(slow[1]) / found.epoch_s(POOL[3]) == pytest.approx(3.0, rel=0.05)
    unseen = configuration(16, activation="elu")
    assert found.epoch_s(POOL[3]) < found.epoch_s(unseen) < found.epoch_s(slow[1])


def test_sampled_configurations_are_spaced_evenly_by_size():
    assert sample_by_size(POOL[::-1], SHAPE, 3) == [POOL[1], POOL[2], POOL[4]]
    assert sample_by_size(POOL[:1], SHAPE, 3) == POOL[:1]


def test_disk_space_covers_checkpoints_leaders_and_artifacts():
    largest = 4 * size_of(SHAPE, POOL[-1]).parameters
    plan = [rung(0, 6, 0, 1), rung(1, 2, 1, 3)]
    held = disk_bytes(group_trials(plan, {(0, 1): POOL}), plan, SHAPE, keep_best=3)
    checkpoints = largest * (4 * (2 + 2) + min(3 + 5 + 1, 8))
    assert checkpoints < held < checkpoints + 8 * 300 * 28 * 28


@pytest.mark.parametrize(
    ("values", "from_best", "copies"),
    [
        ({}, False, 4),
        ({}, True, 6),
        ({"weight_average": 0.99}, False, 5),
        ({"weight_average": 0.99}, True, 8),
    ],
)
def test_copies_in_a_checkpoint_depend_on_averaging_and_promotion(values, from_best, copies):
    one = configuration(8, **values)
    assert copies_per_checkpoint(one, from_best) == copies
    weights = [np.zeros(1000, np.float32)]
    arrays = {"weights": weights, "optimizer": weights * 2, "best_weights": weights}
    arrays |= {"average": weights} if values else {}
    arrays |= {"best_optimizer": weights * 2} if from_best else {}
    arrays |= {"best_raw_weights": weights} if from_best and values else {}
    stored = Checkpoint(epoch=2, best_epoch=1, best_val_loss=0.0, **arrays)._to_arrays()
    assert sum(np.size(array) for array in stored.values()) // 1000 == copies
    plan = [rung(0, 2, 0, 1)]
    held = disk_bytes(group_trials(plan, {(0, 1): [one]}), plan, SHAPE, 1, from_best)
    bare = disk_bytes(group_trials(plan, {(0, 1): [configuration(8)]}), plan, SHAPE, 1)
    parameters = size_of(SHAPE, one).parameters
    assert held - bare == 4 * parameters * 2 * (copies - 4)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.2, 0.4, "1 second"),
        (12.2, 40.6, "12 to 41 seconds"),
        (70, 160, "70 seconds to 2.7 minutes"),
        (160, 290, "2.7 to 4.8 minutes"),
        (1000, 4000, "17 to 67 minutes"),
        (4000, 40000, "67 minutes to 11 hours"),
        (15.1, 15.2, "15 seconds"),
    ],
)
def test_a_range_of_durations_is_shown_in_rounded_units(low, high, words):
    assert describe_duration_range(DurationRange(low, (low + high) / 2, high)) == words


def test_an_open_plan_counts_all_epochs_and_twelve_paused_trials():
    """The epochs are spread over the largest possible number of trials."""
    plan = [Rung(bracket=0, rung=0, trials=30, epoch_from=0, epoch_to=9, most_epochs=75)]
    drawn = 10 * POOL
    assert group_trials(plan, {(0, 0): drawn}) == [TrialGroup(drawn, 30, 2.5)]
    one = [configuration(8)]
    held = disk_bytes(group_trials(plan, {(0, 0): one}), plan, SHAPE, keep_best=1)
    closed = [Rung(bracket=0, rung=0, trials=30, epoch_from=0, epoch_to=9)]
    alone = disk_bytes(group_trials(closed, {(0, 0): one}), closed, SHAPE, keep_best=1)
    assert held - alone == 12 * 4 * 4 * size_of(SHAPE, one[0]).parameters
