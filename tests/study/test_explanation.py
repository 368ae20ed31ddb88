"""The path from the Keras example to a winner."""

import itertools
import math
from dataclasses import replace

import pytest
from journals import make_rescored, make_session_end, make_study, make_trial_events

from vaetune.config.family import FAMILY, REFERENCE, structure_of
from vaetune.config.spec import Budget, Limits, SearchSpec, Training
from vaetune.report.sections.explanation import compute_path
from vaetune.report.text.explanation import explanation_as_table
from vaetune.search.explain import estimate_path_s
from vaetune.study.explanation import explain, explain_as_trained
from vaetune.study.groups import GROUPS
from vaetune.study.path import changed_groups, configuration, find_path
from vaetune.study.scores import Estimate

WINNER = {
    "filters_1": 16,
    "filters_2": 64,
    "dense_units": 256,
    "latent_dim": 16,
    "learning_rate": 0.004,
    "levels": 3,
    "level_channels": 2,
    "batch_size": 32,
    "activation": "gelu",
    "output_bias": "mean",
    "weight_average": 0.99,
}


def test_every_hyperparameter_is_in_one_of_at_most_six_groups():
    names = [name for group in GROUPS.values() for name in group]
    assert sorted(names) == sorted(FAMILY)
    assert len(GROUPS) <= 6


def test_the_ends_of_a_path_are_the_keras_example_and_the_winner():
    groups = changed_groups(WINNER)
    assert groups == ("recipe", "structure", "widths", "latent size", "learning rate", "batch size")
    assert configuration(WINNER, frozenset()) == REFERENCE
    assert configuration(WINNER, frozenset(groups)) == WINNER
    assert changed_groups(REFERENCE) == ()
    assert changed_groups(dict(REFERENCE) | {"beta": 1.0, "batch_size": 128}) == ()


def test_a_group_changes_alone_and_unused_values_are_left_out():
    changed = configuration(WINNER, frozenset({"latent size"}))
    assert changed == dict(REFERENCE) | {"latent_dim": 16}
    dense = {"encoder": "dense", "decoder": "dense", "dense_layers": 2, "dense_units": 512}
    dense |= {"latent_dim": 2, "learning_rate": 0.001}
    assert changed_groups(dense) == ("structure", "widths")
    widths = configuration(dense, frozenset({"widths"}))
    assert (widths["dense_units"], widths["filters_1"], "dense_layers" in widths) == (
        512,
        32,
        False,
    )
    both = configuration(dense, frozenset({"structure", "widths"}))
    assert both == dense
    assert structure_of(both)["encoder"] == "dense"


# The order


class Losses:
    """Reveals the loss of a set of changed groups only after `find_path` has requested it.

    Args:
        loss_of: Function that returns the loss of a set of changed groups.
    """

    def __init__(self, loss_of):
        self.loss_of, self.known, self.rounds = loss_of, set(), 0

    def path(self, groups):
        while True:
            order, missing = find_path(groups, self._known_loss)
            if not missing:
                return order
            assert not self.known & set(missing)
            self.known |= set(missing)
            self.rounds += 1

    def _known_loss(self, changed):
        return self.loss_of(changed) if changed in self.known else None


@pytest.mark.parametrize("gains", list(itertools.permutations([8.0, 4.0, 2.0, 1.0]))[::5])
def test_groups_with_additive_gains_are_ordered_by_gain(gains):
    gain_of = dict(zip("abcd", gains, strict=True))
    losses = Losses(lambda changed: 100 - sum(gain_of[group] for group in changed))
    assert losses.path(list("abcd")) == sorted("abcd", key=gain_of.__getitem__, reverse=True)
    assert len(losses.known) <= 2 + 4 * 5 // 2 - 1


def test_groups_are_chosen_from_both_ends_in_turn():
    """Changing a alone is best. Undoing b costs least, although b alone is second best."""
    table = {"": 100, "a": 90, "b": 91, "c": 95, "ab": 85, "ac": 60, "bc": 88, "abc": 59}
    losses = Losses(lambda changed: table["".join(sorted(changed))])
    assert losses.path(["a", "b", "c"]) == ["a", "c", "b"]


def test_a_path_of_one_group_needs_only_its_two_ends():
    losses = Losses(lambda changed: 10 - len(changed))
    assert losses.path(["a"]) == ["a"]
    assert losses.known == {frozenset(), frozenset("a")}
    assert Losses(lambda changed: 10).path([]) == []


# Trainings of a path


VALUES_OF_WINNER = dict(REFERENCE) | {"latent_dim": 16, "learning_rate": 0.004}
SEARCH = SearchSpec(seed=5, budget=Budget(max_epochs=3))


def make_search(score=100.0, uses=None, search=SEARCH, rescored=()):
    trial = make_trial_events(
        "0000", [score + 9, score], hyperparameters=VALUES_OF_WINNER, uses=uses
    )
    return make_study(*trial, *rescored, make_session_end(), search=search)


def make_training(spec, *losses, uses=None, **data):
    """A baseline with one trial. Without losses, the trial failed."""
    status = "completed" if losses else "failed"
    error = None if losses else "no memory"
    values = {name: one.listed()[0] for name, one in spec.space.dimensions()}
    measured = {"uses": uses, "hyperparameters": values}
    trial = make_trial_events("0000", losses, status=status, error=error, **measured)
    keys = {"search": spec, "kind": "baseline", "name": "one"}
    return make_study(*trial, make_session_end(), **keys, **data)


def train_all(study, loss_of, seeds=2):
    """Trains the missing configurations until the path is complete."""
    trained, rounds = [], []
    while not (found := explain(study, trained, seeds)).is_complete:
        rounds.append([one.title for one in found.missing])
        trained += [make_training(one.spec, *loss_of(one)) for one in found.missing]
    return found, rounds


def loss_by_title(one):
    losses = {"the Keras example": 200, "latent size": 130, "learning rate": 190}
    return [losses.get(one.title, 110) + one.spec.seed]


def test_a_path_is_computed_from_the_given_trainings():
    found, rounds = train_all(make_search(), loss_by_title)
    ends = ["the Keras example"] * 2 + ["all values of the winner"] * 2
    assert rounds == [ends, ["latent size"] * 2 + ["learning rate"] * 2]
    assert [(step.group, step.gain) for step in found.steps] == [
        ("latent size", 70.0),
        ("learning rate", 20.0),
    ]
    assert found.steps[0].changes == {"latent_dim": (2, 16)}
    assert [one.value for one in found.example] == [205.0, 206.0]
    assert found.spread == pytest.approx(0.5**0.5)
    assert found.most_trainings == 8
    assert [one.seed for one in (found.spec(frozenset(), seed) for seed in found.seeds)] == [5, 6]


def test_trainings_have_the_epochs_the_settings_and_the_images_of_the_search():
    search = SEARCH.model_copy(update={"training": Training(batch_size=16, precision="float32")})
    trial = make_trial_events("0000", [100.0], hyperparameters=VALUES_OF_WINNER)
    study = make_study(*trial, make_session_end(), search=search)
    found = explain(study, [])
    assert found.groups == ("latent size", "learning rate", "batch size")
    example, winner = (one.spec for one in found.missing[::2])
    assert (example.budget.max_epochs, example.training.batch_size) == (3, 128)
    assert winner.space.batch_size.listed() == (16,)
    other_images = make_training(example, 200.0, fingerprint="cd" * 32)
    same_images = make_training(example, 200.0)
    assert len(explain(study, [other_images]).missing) == 4
    assert len(explain(study, [same_images]).missing) == 3


def test_all_configurations_of_a_path_have_the_same_programs():
    programs = explain(make_search(), []).all_programs.space
    example, winner = (dict(REFERENCE), VALUES_OF_WINNER)
    assert programs.program_widths(example) == programs.program_widths(winner)
    assert programs.program_widths(example)["latent_dim"] == 16
    assert programs.programs() == 1


def test_trainings_have_no_time_limit():
    limits = Limits(time_budget="1s", max_failure_rate=0.25)
    found = explain(make_search(search=SEARCH.model_copy(update={"limits": limits})), [])
    assert {one.spec.limits.time_budget for one in found.missing} == {None}
    assert {one.spec.limits.max_failure_rate for one in found.missing} == {0.25}


def test_failed_trainings_do_not_count_in_the_noise_of_seeds():
    def loss_of(one):
        fails = one.spec.seed == 5 and one.title == "all values of the winner"
        return [] if fails else loss_by_title(one)

    found, _ = train_all(make_search(), loss_of)
    assert found.steps[-1].outcomes[0].has_failed
    assert found.spread == pytest.approx(0.5**0.5)
    *_, noise = explanation_as_table(found).splitlines()
    assert "standard deviation of 0.71 nats" in noise, "and no comparison with the search"
    none, _ = train_all(make_search(), lambda one: [] if one.spec.seed == 5 else loss_by_title(one))
    assert "With the failed trainings, nothing is known" in explanation_as_table(none)


def test_a_failed_training_counts_as_the_worst_and_is_not_repeated():
    found, _ = train_all(make_search(), lambda one: [] if one.title == "latent size" else [150.0])
    assert [step.group for step in found.steps] == ["learning rate", "latent size"]


def test_the_path_with_the_most_seeds_is_shown():
    study, trained = make_search(), []
    assert len(explain_as_trained(study, trained).seeds) == 2
    for seeds in (1, 3):
        while not (found := explain(study, trained, seeds)).is_complete:
            trained += [make_training(one.spec, *loss_by_title(one)) for one in found.missing]
        shown = explain_as_trained(study, trained)
        assert (len(shown.seeds), shown.is_complete) == (seeds, True)


def test_a_search_without_a_winner_has_no_explanation():
    failed = make_trial_events("0000", status="failed", error="no memory")
    assert explain(make_study(*failed, make_session_end()), []) is None


def test_the_time_estimate_scales_with_the_cost_of_the_networks():
    """An epoch of the winner takes 2.5 s, and a trial 5 s more.

    In the first search, both ends have the same network.
    """
    rate = dict(REFERENCE) | {"learning_rate": 0.004}
    trial = make_trial_events("0000", [100.0], hyperparameters=rate)
    same = explain(make_study(*trial, make_session_end(), search=SEARCH), [])
    assert estimate_path_s(same) == pytest.approx(4 * (3 * 2.5 + 5))
    slower = make_trial_events("0001", [110.0], hyperparameters=rate, duration_s=12.5)
    mixed = explain(make_study(*trial, *slower, make_session_end(), search=SEARCH), [])
    # The first training of both networks takes the longest time besides epochs, others the median.
    assert estimate_path_s(mixed) == pytest.approx(4 * 3 * 2.5 + 2 * 10 + 2 * 7.5)
    small = dict(REFERENCE) | {"filters_1": 4, "filters_2": 8}
    trial = make_trial_events("0000", [100.0], hyperparameters=small)
    larger = explain(make_study(*trial, make_session_end(), search=SEARCH), [])
    assert estimate_path_s(larger) > 1.5 * 4 * 3 * 2.5  # The example is larger than the winner.


# Searches by accuracy


BY_NEIGHBOURS = SEARCH.model_copy(update={"objective": "knn_accuracy"})

ACCURACIES = {
    "the Keras example": 0.5,
    "latent size": 0.6,
    "learning rate": 0.75,
    "all values of the winner": 0.9,
}


def train_by_accuracy(study, accuracies=ACCURACIES):
    """Trains a path on which the loss would choose the other order.

    The last epoch of each training does not have the best accuracy.
    """
    trained = []
    while not (found := explain(study, trained)).is_complete:
        for one in found.missing:
            (loss,), accuracy = loss_by_title(one), accuracies[one.title]
            uses = [accuracy + 0.01 * (one.spec.seed - 5), 0.1]
            trained.append(make_training(one.spec, loss, loss - 50, uses=uses))
    return found


def test_the_path_of_a_search_by_accuracy_is_ordered_by_accuracy():
    found = train_by_accuracy(make_search(uses=[0.5, 0.9], search=BY_NEIGHBOURS))
    assert {spec.objective for spec in (found.spec(frozenset(), 5),)} == {"knn_accuracy"}
    assert [step.group for step in found.steps] == ["learning rate", "latent size"]
    assert [step.gain for step in found.steps] == pytest.approx([0.25, 0.15])
    assert [(one.value, one.loss) for one in found.example] == [(0.5, 205.0), (0.51, 206.0)]
    shown = explanation_as_table(found).replace("\N{NO-BREAK SPACE}", " ").splitlines()
    assert shown[0].endswith("gain  validation loss  changes")
    assert "75.0 %, 76.0 %  +25.0  195.0, 196.0     learning_rate 0.001 -> 0.004" in shown[2]
    assert shown[4].endswith("A gain is the rise of the mean kNN accuracy, in points.")
    assert "The kNN accuracy of one seed has a standard deviation of 0.7 points." in shown[5]
    assert len(shown) == 6  # 90 % is within the noise of 90 and 91 %.
    assert compute_path(found).rows[1].losses == "195.0, 196.0"


def test_groups_with_equal_accuracies_are_ordered_by_loss():
    equal = dict.fromkeys(ACCURACIES, 0.6)
    found = train_by_accuracy(make_search(uses=[0.5, 0.6], search=BY_NEIGHBOURS), equal)
    assert [step.group for step in found.steps] == ["latent size", "learning rate"]


def test_a_failed_training_has_the_worst_accuracy():
    study = make_search(uses=[0.5, 0.9], search=BY_NEIGHBOURS)
    failed, _ = train_all(study, lambda one: [])
    assert [one.value for one in failed.example] == [-math.inf, -math.inf]
    assert "failed, failed" in explanation_as_table(failed)


def test_a_winner_with_a_better_accuracy_in_the_search_is_reported():
    found = train_by_accuracy(make_search(uses=[0.5, 0.97], search=BY_NEIGHBOURS))
    shown = explanation_as_table(found).replace("\N{NO-BREAK SPACE}", " ")
    assert "The winner reached 97.0 % kNN accuracy in the search. Trained again" in shown


def test_the_accuracy_that_chose_the_winner_is_explained():
    """The search minimizes the loss, so the winner's accuracy is known from its rescoring alone."""
    by_both = SEARCH.model_copy(update={"choose_by": "knn_accuracy"})
    event = make_rescored({("0000", 2): 100.0})
    (score,) = event.rescoring.finalists
    score = replace(score, use=Estimate(0.97, 0.01))
    rescoring = replace(event.rescoring, finalists=(score,), chosen_by="knn_accuracy")
    decided = event.model_copy(update={"rescoring": rescoring})
    found = train_by_accuracy(make_search(search=by_both, rescored=[decided]))
    assert found.spec(frozenset(), 5).objective == "knn_accuracy"
    shown = explanation_as_table(found).replace("\N{NO-BREAK SPACE}", " ")
    assert "97.0 % kNN accuracy in the search, at the epoch with the lowest validation" in shown


# As text


def test_the_table_has_a_row_for_each_step_and_the_noise():
    found, _ = train_all(make_search(score=116.0), loss_by_title)
    table = explanation_as_table(found).splitlines()
    assert [line.split("  ")[0] for line in table[:4]] == [
        "step",
        "the Keras example",
        "latent size",
        "learning rate",
    ]
    assert "latent_dim 2 -> 16" in table[2]
    assert "135.0, 136.0  +70.0  latent_dim" in table[2]
    assert "standard deviation of 0.71 nats" in table[5]
    assert len(table) == 6  # 116.0 is within the noise of 115 and 116.


def test_a_winner_with_a_better_loss_in_the_search_is_reported():
    found, _ = train_all(make_search(score=108.0), loss_by_title)
    assert "reached 108.0 nats in the search" in explanation_as_table(found)


def test_with_one_seed_the_noise_is_unknown():
    found, _ = train_all(make_search(score=115.0), loss_by_title, seeds=1)
    assert explanation_as_table(found).endswith("nothing is known about the noise of seeds.")
    lucky, _ = train_all(make_search(score=108.0), loss_by_title, seeds=1)
    assert explanation_as_table(lucky).endswith(
        "The winner reached 108.0 nats in the search. Trained again it reached 115.0, a difference "
        "that may be the noise of seeds."
    )


def test_the_report_shows_the_command_until_the_path_is_trained():
    study = make_search()
    found, _ = train_all(study, loss_by_title)
    first, last = compute_path(explain(study, [])), compute_path(found)
    assert first.rows == ()
    assert first.effort == "at most 8 trainings of 3 epochs"
    assert first.command.startswith("vaetune explain tiny")
    assert [row.step for row in last.rows] == ["the Keras example", "latent size", "learning rate"]
    assert compute_path(None) is None
