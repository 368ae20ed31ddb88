"""Simulated searches: recorded curves, surrogates, algorithms, and the tables of results."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import record_curves
import simulate
import simulated_searches
import worlds
from curves import Curve, Table, write_curves
from image_sets import make_split
from journals import VALUES, JournalBuilder, make_session, make_started, write_journal
from long_forms import long
from simulated_searches import ALGORITHMS, Clock, Training
from simulated_tables import recorded_sentence, simulated_text
from sklearn.gaussian_process.kernels import ConstantKernel, Matern
from workloads import append_line
from worlds import (
    LETTERS,
    Process,
    World,
    fit_seconds,
    half_of,
    held_out_errors,
    of_letters,
    run_noise,
)

import vaetune.search.oracles.decision as decision
from vaetune.config import DEFAULT_SPACE, Choice, Pinned, Range, Space
from vaetune.search.oracles.encoding import Encoder

SPACE = Space(
    filters_1=Choice(values=(8, 16, 32)),
    filters_2=Pinned(value=32),
    dense_units=Choice(values=(16, 64)),
    latent_dim=Pinned(value=8),
    learning_rate=Range(min=1e-3, max=1e-2, scale="log"),
    activation=Choice(values=("relu", "gelu")),
    levels=Choice(values=(1, 2)),
    level_channels=Choice(values=(1, 4)),
)
"""A space with a categorical hyperparameter, and with one that only models of two levels use."""

FLOOR, NOISE = 40.0, 0.01


def true_losses(values):
    """Losses that depend smoothly on all searched hyperparameters."""
    rate = math.log10(values["learning_rate"] / 4e-3)
    above = 60 + 30 * rate**2 - 0.1 * values["filters_1"] - 0.02 * values["dense_units"]
    above -= 3 * (values["activation"] == "gelu") + values.get("level_channels", 0)
    return FLOOR + above * (1 + 0.8 / np.arange(1, 10))


def true_seconds(values):
    return 2.0 * (values["filters_1"] / 16) ** 0.7 * values["levels"]


def make_curve(number, values, rng):
    losses = FLOOR + (true_losses(values) - FLOOR) * np.exp(rng.normal(scale=NOISE, size=9))
    return Curve(number, values, tuple(losses.round(4).tolist()), FLOOR)


def make_table(folder, count=60):
    table, encoder, rng = Table("invented", folder, SPACE), Encoder(SPACE), np.random.default_rng(0)
    drawn = [encoder.draw(row) for row in rng.random((count, encoder.dimensions)).tolist()]
    write_curves(table.curves_path, [make_curve(n, v, rng) for n, v in enumerate(drawn)])
    write_curves(table.again_path, [make_curve(n, v, rng) for n, v in enumerate(drawn[:20])])
    for number, values in record_curves.networks(table.curves()).items():
        row = {"number": number, "train_s": 0.9 * true_seconds(values)}
        append_line(
            table.seconds_path, json.dumps(row | {"validation_s": 0.1 * true_seconds(values)})
        )
    return table


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return make_table(tmp_path_factory.mktemp("curves"))


@pytest.fixture(scope="module", autouse=True)
def few_candidates():
    """Searches only a few configurations for the lowest loss of a world, to save time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worlds, "CANDIDATES", 400)
        yield


@pytest.fixture(scope="module")
def half(table):
    return half_of(table, "judging")


@pytest.fixture(scope="module")
def world(half):
    return World(half, 2)


# Tables


def test_written_curves_are_read_except_an_incomplete_line(tmp_path):
    table = Table("few", tmp_path)
    curves = [Curve(n, {"latent_dim": 8, "activation": "relu"}, (3.5, 2.25), 1.0) for n in (0, 2)]
    write_curves(table.curves_path, curves[::-1])
    assert table.curves() == curves
    table.curves_path.write_text(table.curves_path.read_text()[:-9])
    assert table.curves() == curves[1:]
    assert not table.is_complete


def test_only_completed_trials_have_curves():
    builder = JournalBuilder().begin(0, "0000", 1, configuration=0)
    builder.epoch(1, "0000", 1, 210.12345).epoch(2, "0000", 2, 190.0).finish(2, "0000", score=190.0)
    builder.begin(3, "0001", 1, configuration=1).finish(4, "0001", "failed", error="no memory")
    builder.begin(5, "0002", 1, configuration=2).epoch(6, "0002", 1, 200.0)
    study = builder.finish(7, "0002", score=200.0).study()
    floor = study.started.data.entropy_floor
    first, last = record_curves.curves_of(study)
    assert first == Curve(0, VALUES, (210.1234, 190.0), floor)
    assert (last.number, last.val_loss) == (2, (200.0,))
    again = record_curves.curves_of(study, [10, 11, 12])
    assert [curve.number for curve in again] == [10, 12]


def test_configurations_that_differ_only_in_the_learning_rate_are_one_network():
    values = [{"latent_dim": d, "learning_rate": r} for d, r in ((8, 1.0), (8, 2.0), (4, 1.0))]
    curves = [Curve(n, one, (1.0,), 0.0) for n, one in enumerate(values)]
    assert record_curves.networks(curves) == {0: values[0], 2: values[2]}


def test_the_first_epoch_is_not_timed(monkeypatch):
    seconds = [(100.0, 50.0), (1.0, 0.25), (3.0, 0.5), (2.0, 0.75)]
    epochs = [type("Epoch", (), {"train_s": a, "validation_s": b}) for a, b in seconds]
    monkeypatch.setattr(record_curves, "train_epochs", lambda *_: iter(epochs))
    assert record_curves.time_epoch({}, None) == (2.0, 0.5)


@pytest.fixture
def searches(monkeypatch):
    """The specification of each search that starts, and whether it extends; nothing is trained."""
    found = []

    def run(search, images, results, *, name, executor, extend):
        found.append((search.spec, extend))
        started = make_started(name, search=search.spec)
        write_journal(results / name, [started, make_session()])
        assert str(executor) == "2 workers on this machine, 1 thread each"

    monkeypatch.setattr("vaetune.run_search", run)
    return found


def test_recordings_are_extended_only_by_a_larger_count(searches, tmp_path):
    for count in (2, 2, 3):
        record_curves.record("few", 7, count, "digits", {}, results=tmp_path)
    assert [extend for _, extend in searches] == [False, False, True]
    spec, _ = searches[0]
    assert (spec.seed, spec.budget.max_trials, spec.budget.max_epochs) == (7, 2, 9)
    assert (spec.space, spec.baseline) == (DEFAULT_SPACE, False)


def test_the_first_configurations_of_a_table_are_trained_again(searches, monkeypatch, tmp_path):
    encoder = Encoder(DEFAULT_SPACE)
    values = [encoder.draw([share] * encoder.dimensions) for share in (0.1, 0.5, 0.9)]
    table = Table("few", tmp_path)
    write_curves(table.curves_path, [Curve(n, v, (1.0,), 0.0) for n, v in enumerate(values)])
    monkeypatch.setattr(record_curves, "BUILD", tmp_path)
    record_curves.record_again(table, "digits", 2)
    ((spec, _),) = searches
    assert (spec.seed, list(spec.start_with)) == (8, values[:2])
    assert table.again() == []


@pytest.mark.slow
@pytest.mark.long
def test_curves_are_recorded_extended_and_recorded_again(tmp_path):
    train, test = make_split(30, (9, 10, 1), 1), make_split(12, (9, 10, 1), 2)
    file = tmp_path / "squares.npz"
    np.savez(file, x_train=train.images, x_test=test.images)
    short = {"budget.max_epochs": 1, "space.levels": {"value": 2}}

    def record(name, seed, count, **changes):
        # With workers, because TensorFlow may already run here with another number of threads.
        study = record_curves.record(
            name, seed, count, str(file), short | changes, results=tmp_path
        )
        return list(record_curves.curves_of(study))

    first = record("squares", 7, 1)
    both = record("squares", 7, 2)
    assert both[:1] == first
    assert [curve.number for curve in both] == [0, 1]
    again = record("again", 8, 2, start_with=[curve.values for curve in both])
    assert [curve.values for curve in again] == [curve.values for curve in both]
    assert {curve.val_loss for curve in again}.isdisjoint({curve.val_loss for curve in both})


# Surrogates


def test_each_half_predicts_the_other_far_better_than_the_mean_does(table):
    errors = held_out_errors(table)
    for epoch in (0, 2, 8):
        assert errors["root_mean_square"][epoch] < 0.25 * errors["deviation"][epoch]


def test_the_halves_share_no_configuration(table):
    fitted = []
    for name in ("choosing", "judging"):
        found = half_of(table, name).surrogate
        fitted.append(set(map(tuple, found._processes[0]._points.tolist())))
    assert sum(map(len, fitted)) == 60
    assert fitted[0].isdisjoint(fitted[1])


def test_a_drawn_function_agrees_with_the_observations_and_differs_elsewhere(table, half):
    curves = [curve for curve in table.curves() if curve.number % 2]
    values = [curve.values for curve in curves]
    draws = [half.surrogate.draw(np.random.default_rng(seed)) for seed in range(6)]
    observed = np.array([curve.val_loss for curve in curves])
    at_observed = np.array([draw(values) for draw in draws])
    assert np.abs(at_observed - observed).mean() < 3 * NOISE * 60
    elsewhere = np.array([draw(half.surrogate.candidates[:200]) for draw in draws])
    assert elsewhere.std(axis=0).mean() > 1.2 * at_observed.std(axis=0).mean()
    expected = half.surrogate.expect(half.surrogate.candidates[:200])
    assert np.abs(elsewhere.mean(axis=0) - expected).mean() < elsewhere.std(axis=0).mean()


def test_functions_far_from_the_observations_have_the_prior_covariance(monkeypatch):
    monkeypatch.setattr(worlds, "FEATURES", 32)
    rng = np.random.default_rng(5)
    process = Process(rng.random((8, 2)), rng.normal(size=8))
    process._kernel = ConstantKernel(1.7) * Matern([1.5, 2.0], nu=2.5)
    far = np.array([[50.0, 60.0], [51.0, 60.5], [52.0, 61.0]])
    numbers = np.array([process.draw(np.random.default_rng(n))(far) for n in range(5000)])
    expected = process._kernel(far) * process._scale**2
    assert np.cov(numbers.T) == pytest.approx(expected, abs=0.05 * expected[0, 0])
    assert expected[0, 2] < 0.5 * expected[0, 0]


def test_the_run_noise_equals_the_noise_of_a_single_training(table, half):
    assert run_noise(table).std() == pytest.approx(NOISE, rel=0.15)
    world, values = World(half, 3), half.surrogate.candidates[0]
    runs = np.array([world.train(values, run) for run in range(400)])
    assert (runs[0] == world.train(values, 0)).all()
    assert np.log(runs - FLOOR).std(axis=0) == pytest.approx(np.full(9, NOISE), rel=0.5)


def test_worlds_with_one_seed_are_equal_and_have_a_lowest_loss(half):
    first, again, other = World(half, 1), World(half, 1), World(half, 2)
    assert (first.lowest, first.floor) == (again.lowest, FLOOR)
    assert first.lowest != other.lowest
    assert first.lowest == first._losses(half.surrogate.candidates).min()


def test_epoch_times_depend_on_the_network_but_not_on_the_learning_rate(table, half):
    values = half.surrogate.candidates[:100]
    predicted = fit_seconds(table).predict(values)
    assert predicted == pytest.approx([true_seconds(one) for one in values], rel=0.1)
    others = [one | {"learning_rate": 2e-3} for one in values]
    assert (half.seconds.predict(others) == predicted).all()


# Searches


class InventedWorld:
    """A simulated world: its n-th training has the n-th list of losses; an epoch takes a second."""

    lowest = 100.0

    def __init__(self, *losses):
        self._losses = losses

    def train(self, values, run):
        return np.array(self._losses[run - 1])

    def epoch_s(self, values):
        return 1.0


def test_the_clock_counts_trial_costs_and_epochs_until_distances_are_reached():
    clock = Clock(InventedWorld((200.0,) * 3, (150.0, 101.5, 100.0)), per_trial_s=0.5)
    for _ in range(2):
        training = clock.begin({})
        clock.start_trial()
        for epoch in (1, 2, 3):
            clock.train(training, epoch)
    # 3.5 s for the first trial, 0.5 s to start the second one, and 1 s for each of its epochs.
    assert clock.reached_s == {5.0: 6.0, 2.0: 6.0, 1.0: 7.0}
    assert clock.above == 0.0
    assert not clock.is_over
    clock.train(Training(np.array([101.0]), 123.5), 1)
    assert clock.is_over


def test_losses_after_the_budget_do_not_change_the_final_distance():
    clock = Clock(InventedWorld(), per_trial_s=0.0)
    clock.train(Training(np.array([104.0]), simulated_searches.BUDGET_S), 1)
    clock.train(Training(np.array([101.0]), 1.0), 1)
    assert clock.above == 4.0
    assert clock.reached_s == {5.0: 130.0, 2.0: 131.0, 1.0: 131.0}


class LoggingClock(Clock):
    """A clock that logs configurations and epochs, and ends after a number of trials."""

    def __init__(self, world, trials=40):
        super().__init__(world, per_trial_s=0.5)
        self.left, self.begun, self.trials = trials, [], []

    def begin(self, values):
        self.begun.append(dict(values))
        return super().begin(values)

    def start_trial(self):
        self.left -= 1
        self.trials.append([])

    def train(self, training, epoch):
        self.trials[-1].append((training, epoch))
        return super().train(training, epoch)

    @property
    def is_over(self):
        return self.left <= 0


@pytest.fixture(scope="module")
def logs(half):
    """The log of each algorithm in the same world, by title."""
    found = {}
    for title, (search, _) in ALGORITHMS.items():
        found[title] = LoggingClock(World(half, 1))
        search(found[title], 5)
    return found


def test_every_algorithm_trains_valid_configurations_epoch_by_epoch(logs):
    for log in logs.values():
        for values in log.begun:
            complete = {name: one.listed()[0] for name, one in SPACE.dimensions()}
            assert SPACE.used(complete | values) == values
        progress = {}
        for trial in log.trials:
            for training, epoch in trial:
                assert epoch in (1, progress.get(training, 0) + 1)
                progress[training] = epoch
        assert max(progress.values()) == 9


def log_of(logs, word):
    return next(log for title, log in logs.items() if word in title)


def test_promoted_trials_continue_or_restart(logs):
    for title in ALGORITHMS:
        firsts = {trial[0][1] for trial in logs[title].trials}
        restarts = not ("continue" in title or "Freeze" in title or "Control" in title)
        assert (firsts == {1}) == restarts, title
    continued, restarted = (
        next(logs[title] for title in ALGORITHMS if word in title)
        for word in ("continue", "restart")
    )
    assert continued.begun == restarted.begun
    assert sum(map(len, continued.trials)) < sum(map(len, restarted.trials))


def test_the_control_begins_cheap_configurations_and_completes_three(logs):
    log = log_of(logs, "Control")
    assert [len(trial) for trial in log.trials[:30]] == [1] * 27 + [8] * 3
    everything = [true_seconds(values) for values in log.world._half.surrogate.candidates]
    assert np.mean([true_seconds(values) for values in log.begun]) < 0.9 * np.mean(everything)


ALIKE = [title for title in ALGORITHMS if "(Keras Tuner's" in title or "restart" in title]
"""Algorithms that differ from another one only in how long their trials take."""


@pytest.mark.parametrize("title", [*(one for one in ALGORITHMS if one not in ALIKE), *long(*ALIKE)])
def test_searches_are_reproducible_and_take_longer_with_a_higher_trial_cost(world, title):
    outcome, again, expensive = (
        simulate.simulate(world, title, per_trial_s, seed=1) for per_trial_s in (0.5, 0.5, 50)
    )
    assert outcome["5.0"] <= outcome["2.0"] <= outcome["1.0"]
    assert outcome == again
    assert expensive["5.0"] > outcome["5.0"]


# Results


@pytest.fixture
def results(monkeypatch, table, tmp_path):
    """A function that simulates some algorithms in this process and returns the results file."""

    def run(*options, titles):
        monkeypatch.setattr(simulate, "ALGORITHMS", {title: ALGORITHMS[title] for title in titles})
        monkeypatch.setattr(simulate, "fixed_costs", lambda: {"vaetune": 0.5})
        monkeypatch.setattr(simulate, "TABLE", table)
        monkeypatch.setattr(simulate, "RESULTS", tmp_path)
        arguments = ["simulate.py", "--processes", "1", *options]
        monkeypatch.setattr("sys.argv", arguments)
        simulate.main()
        return tmp_path / "simulated.json"

    return run


def test_the_tables_show_the_results_of_both_halves_and_of_letters(results, table):
    titles = [title for title in ALGORITHMS if title.startswith(("Random", "Control"))]
    simulated = json.loads(results("--seeds", "2", titles=titles).read_text())
    assert (simulated["seeds"], simulated["configurations"]) == (2, 60)
    for half in ("choosing", "judging"):
        for measures in simulated["quartiles"][half].values():
            assert measures.keys() == {"5.0", "2.0", "1.0", "above"}
            assert all(three == sorted(three) for three in measures.values())
    text = simulated_text(simulated)
    row = f"| {titles[0]} |"
    assert text.count(row) == 2
    assert text.index("for judging") < text.index("for choosing")
    halves = simulated["quartiles"] | {"letters": simulated["quartiles"]["judging"]}
    text = simulated_text(simulated | {"quartiles": halves, "letters": 150})
    assert text.count(row) == 3
    assert "made of 150 configurations" in text


def test_letters_have_their_own_losses_but_the_epoch_times_of_digits(table, tmp_path):
    with_letters = Table("invented", tmp_path, SPACE)
    shutil.copytree(table.folder, tmp_path, dirs_exist_ok=True)
    easier = [replace(one, val_loss=[n - 5 for n in one.val_loss]) for one in table.curves()[:30]]
    write_curves(of_letters(with_letters).curves_path, easier)
    letters, digits = half_of(with_letters, LETTERS), half_of(table, "judging")
    values = [curve.values for curve in table.curves()]
    gaps = digits.surrogate.expect(values) - letters.surrogate.expect(values)
    assert np.median(gaps) == pytest.approx(5, abs=1)
    assert letters.seconds.predict(values) == pytest.approx(digits.seconds.predict(values))
    assert (letters.noise == digits.noise).all()


def test_constants_are_varied_only_in_the_worlds_for_choosing(results, monkeypatch, capsys):
    monkeypatch.setattr(decision, "COST_POWER", decision.COST_POWER)
    monkeypatch.setattr(simulated_searches, "GIVE_UP_S", simulated_searches.BUDGET_S)
    titles = ["Freeze-thaw (vaetune)"]
    plain, varied = (
        results("--vary", f"decision.COST_POWER={power}", "--seeds", "1", titles=titles)
        for power in (0.5, 0.0)
    )
    assert decision.COST_POWER == 0.0
    assert not plain.exists()
    assert not varied.exists()
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith("choosing: Freeze-thaw") for line in lines] == [True, True]
    assert lines[0] != lines[1]
    with pytest.raises(AttributeError):
        simulate.change_constants(["decision.COST_POWR=1"])


def test_nothing_is_simulated_before_curves_are_recorded(monkeypatch, tmp_path, capsys):
    empty = Table("empty", tmp_path)
    assert recorded_sentence(empty) == "Not recorded yet."
    assert simulated_text(None) == "Not simulated yet."
    monkeypatch.setattr("sys.argv", ["simulate.py"])
    monkeypatch.setattr(simulate, "TABLE", empty)
    simulate.main()
    assert capsys.readouterr().out.startswith("No curves are recorded yet")


def test_the_tables_show_medians_quartiles_and_distances_not_reached():
    measures = {"5.0": [9.6, 20, 30], "2.0": [50, 60, 100], "1.0": [70, 100, 100]}
    title = {"A search": measures | {"above": [0.12, 0.5, 2]}}
    held_out = {name: [n] * 9 for n, name in enumerate(("root_mean_square", "deviation"))}
    simulated = {"seeds": 3, "give_up_s": 100, "held_out": held_out}
    text = simulated_text(simulated | {"quartiles": {"judging": title, "choosing": title}})
    row = "| A search | 20 s (10 to 30) | 60 s (50 to not reached) "
    row += "| not reached (70 to not reached) | 0.5 (0.1 to 2.0) |"
    assert text.count(row) == 2


def test_the_recorded_curves_are_summarised(tmp_path):
    table = Table("few", tmp_path)
    first = [Curve(n, {}, (90.0 + n,) * 8 + (70.0 + n,), 40.0) for n in range(3)]
    write_curves(table.curves_path, first)
    write_curves(table.again_path, [Curve(1, {}, (93.0,) * 8 + (75.0,), 40.0)])
    for train_s in (1.0, 2.5):
        row = {"number": 0, "train_s": train_s, "validation_s": 0.1}
        append_line(table.seconds_path, json.dumps(row))
    # The losses differ by 2 and 4 nats, so one training deviates by 2 and 4 over the root of 2.
    assert recorded_sentence(table) == (
        "3 configurations, the best one with 70.00 nats. 1 of them were trained twice. The "
        "standard deviation of a training, if only its seed changes, is 1.41 nats after epoch 1, "
        "1.41 nats after epoch 3 and 2.83 nats after epoch 9. An epoch takes 1.1 to 2.6 s on one "
        "thread."
    )
