"""Searches over categories and conditional hyperparameters, and single configurations."""

import pytest
from tiny_searches import TINY, changed, run, stop

from vaetune.config.comparison import differences
from vaetune.config.dimensions import Choice, Pinned
from vaetune.config.search_file import resolve_single
from vaetune.config.space import Space
from vaetune.config.spec import Budget, SearchSpec, Training, single_configuration
from vaetune.errors import SpecError
from vaetune.search.baseline import configuration_name
from vaetune.study.builder import load_study

SPACE = Space(
    filters_1=Pinned(value=2),
    filters_2=Pinned(value=3),
    dense_units=Pinned(value=4),
    latent_dim=Choice(values=(2, 3)),
    output_bias=Choice(values=("zeros", "mean"), when={"latent_dim": (2,)}),
    beta=Choice(values=(1, 2)),
)
"""Six configurations. Without the condition, the space would have eight."""

GRID = changed(TINY, algorithm="grid", budget=Budget(max_epochs=1), space=SPACE)


@pytest.mark.slow
def test_a_journal_holds_categories_and_only_the_used_hyperparameters(tmp_path):
    study = run(tmp_path, GRID)
    assert study.is_complete
    found = [dict(trial.hyperparameters) for trial in study.trials]
    assert len(found) == SPACE.size() == 6
    assert [one.get("output_bias") for one in found if one["latent_dim"] == 3] == [None] * 2
    again = load_study(study.folder)
    assert [dict(trial.hyperparameters) for trial in again.trials] == found
    assert differences(again.search, GRID) == []


@pytest.mark.slow
def test_an_interrupted_search_over_categories_continues_and_is_extended(tmp_path):
    random = changed(TINY, algorithm="random", budget=Budget(max_epochs=1, max_trials=3))
    random = changed(random, space=SPACE)
    whole = run(tmp_path / "whole", changed(random, budget=Budget(max_epochs=1, max_trials=5)))
    stop(tmp_path / "parts", 6, random)
    run(tmp_path / "parts", random)
    longer = changed(random, budget=Budget(max_epochs=1, max_trials=5))
    parts = run(tmp_path / "parts", longer, extend=True)
    assert [t.hyperparameters for t in parts.trials] == [t.hyperparameters for t in whole.trials]
    assert [t.score for t in parts.trials] == [t.score for t in whole.trials]


def test_a_space_pinned_at_a_configuration_holds_exactly_its_values():
    dense = {"dense_units": 8, "latent_dim": 2, "learning_rate": 0.01}
    dense |= {"encoder": "dense", "decoder": "dense", "dense_layers": 2}
    space = Space.pinned_at(dense)
    assert space.used({name: one.listed()[0] for name, one in space.dimensions()}) == dense
    assert single_configuration(dense, 3, like=SearchSpec()).space == space


@pytest.mark.parametrize(
    ("configuration", "name"),
    [
        ({}, "reference"),
        ({"latent_dim": 4}, "filters-32-64-dense-16-latent-4-rate-0.001"),
        ({"batch_size": 64}, "filters-32-64-dense-16-latent-2-rate-0.001-batch-64"),
        (
            {"activation": "gelu", "stages": 3, "blocks": 0, "beta": 2.0},
            "filters-32-64-dense-16-latent-2-rate-0.001-beta-2-gelu-3-stages",
        ),
        (
            {"encoder": "dense", "decoder": "dense"},
            "dense-16-latent-2-rate-0.001-dense-encoder-dense-decoder",
        ),
    ],
)
def test_a_configuration_is_named_by_its_used_hyperparameters(configuration, name):
    assert configuration_name(resolve_single(configuration, {}).spec) == name


def test_a_long_name_is_shortened_and_stays_distinct():
    long = {"activation": "leaky_relu", "stages": 5, "blocks": 4, "normalization": "batch"}
    long |= {"levels": 3, "output_bias": "mean", "kl_warmup": 2, "weight_decay": 0.001}
    names = [
        configuration_name(resolve_single({**long, "clip_norm": norm}, {}).spec) for norm in (1, 2)
    ]
    assert len(set(names)) == 2
    assert max(map(len, names)) <= 120


DENSE = {"encoder": "dense", "decoder": "dense", "dense_layers": 2, "latent_dim": 4}


def test_a_changed_configuration_drops_unused_hyperparameters():
    conv = resolve_single({"encoder": "conv", "decoder": "conv"}, {}, DENSE).spec.space
    assert conv.dense_layers is None
    assert conv.latent_dim == Pinned(value=4)
    dense = resolve_single({**DENSE}, {}, {"filters_1": 8, "levels": 2, "level_channels": 2})
    assert dense.spec.space.levels is None
    assert dense.spec.space.filters_1 == Pinned(value=32)


def test_an_option_replaces_the_learning_rate_decay_of_a_trial():
    like = SearchSpec(training=Training(learning_rate_decay="cosine"))
    kept = resolve_single({}, {}, {"learning_rate_decay": "cosine"}, like).spec
    assert kept.space.learning_rate_decay == Pinned(value="cosine")
    assert kept.training.learning_rate_decay is None
    flags = {"training.learning_rate_decay": "none"}
    changed_ = resolve_single({}, flags, {"learning_rate_decay": "cosine"}, like).spec
    assert changed_.space.learning_rate_decay is None
    assert changed_.training.learning_rate_decay == "none"
    with pytest.raises(SpecError, match="conflicts with"):
        resolve_single({"learning_rate_decay": "cosine"}, flags)
