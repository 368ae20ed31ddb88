"""The hypermodel: from a search space to Keras Tuner's hyperparameters, and from these to a VAE."""

import json

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

import vaetune
from vaetune.config.space import EARLIER_SPACE, REFERENCE, Choice, Pinned, Range, Space
from vaetune.models.hypermodel import VAEHyperModel


@pytest.fixture(autouse=True)
def seed():
    """Sets a seed, because another test may have enabled deterministic operations."""
    keras.utils.set_random_seed(1)


def declared(space):
    hyperparameters = keras_tuner.HyperParameters()
    VAEHyperModel((8, 8, 1), space).declare_hyperparameters(hyperparameters)
    return hyperparameters


def sampled(space, name, count=200):
    (dimension,) = [hp for hp in declared(space).space if hp.name == name]
    return [dimension.random_sample(seed) for seed in range(count)]


def test_the_hypermodel_is_public():
    assert vaetune.VAEHyperModel is VAEHyperModel


def test_an_unknown_public_name_raises_an_attribute_error():
    with pytest.raises(AttributeError, match="No vaetune attribute VAEHypermodel"):
        _ = vaetune.VAEHypermodel


def test_the_defaults_of_the_earlier_space_are_the_reference():
    hyperparameters = keras_tuner.HyperParameters()
    VAEHyperModel(space=EARLIER_SPACE).declare_hyperparameters(hyperparameters)
    assert hyperparameters.values == REFERENCE


def test_the_default_configuration_of_the_earlier_space_builds_the_reference():
    vae = VAEHyperModel(space=EARLIER_SPACE).build(keras_tuner.HyperParameters())
    assert (vae.encoder.count_params(), vae.decoder.count_params()) == (69_076, 65_089)
    assert float(vae.optimizer.learning_rate) == pytest.approx(1e-3)


def test_building_declares_the_same_hyperparameters():
    space = Space(latent_dim=Choice(values=(2, 3)), learning_rate=Range(min=1e-4, max=1e-2))
    hyperparameters = keras_tuner.HyperParameters()
    VAEHyperModel((8, 8, 1), space).build(hyperparameters)
    assert hyperparameters.get_config() == declared(space).get_config()


def test_the_optimizer_is_built_with_the_model():
    vae = VAEHyperModel((8, 8, 1)).build(keras_tuner.HyperParameters())
    assert vae.optimizer.built


@pytest.mark.parametrize(
    "space",
    [Space(filters_1=Choice(values=(4, 8))), Space(filters_1=Pinned(value=5))],
)
def test_a_default_lies_inside_its_space(space):
    default = declared(space).values["filters_1"]
    assert space.filters_1.contains(default)


def test_values_of_a_choice_are_drawn_from_its_list():
    space = Space(latent_dim=Choice(values=(2, 4, 8)))
    assert set(sampled(space, "latent_dim")) == {2, 4, 8}


def test_a_linear_range_of_whole_numbers_includes_both_ends():
    values = sampled(Space(latent_dim=Range(min=2, max=5)), "latent_dim")
    assert set(values) == {2, 3, 4, 5}
    assert all(isinstance(value, int) for value in values)


def test_a_logarithmic_range_samples_each_decade_equally():
    values = np.array(
        sampled(Space(learning_rate=Range(min=1e-4, max=1e-2, scale="log")), "learning_rate")
    )
    assert values.min() >= 1e-4
    assert values.max() <= 1e-2
    assert 0.35 < np.mean(values < 1e-3) < 0.65


def test_a_learning_rate_is_real_valued_even_between_whole_bounds():
    values = sampled(Space(learning_rate=Range(min=1, max=2)), "learning_rate")
    assert len(set(values)) > 10


@pytest.mark.long  # tests/contracts/test_python_door.py runs the script of the documentation.
def test_the_hypermodel_works_in_a_plain_keras_tuner_script(tmp_path):
    images = np.random.default_rng(0).random((24, 8, 8, 1), dtype=np.float32)
    space = Space(filters_1=Pinned(value=4), filters_2=Pinned(value=4))
    space = space.model_copy(update={"latent_dim": Choice(values=(2, 3))})
    tuner = keras_tuner.Hyperband(
        vaetune.VAEHyperModel((8, 8, 1), space),
        objective=keras_tuner.Objective("val_loss", "min"),
        max_epochs=2,
        factor=2,
        seed=1,
        directory=tmp_path,
    )
    tuner.search(images[:16], validation_data=(images[16:],), batch_size=8, verbose=0)
    trials = tuner.oracle.trials.values()
    assert len(trials) == 3, "two configurations, and the better one promoted"
    (model,) = tuner.get_best_models()
    assert np.isfinite(model.evaluate(images, verbose=0, return_dict=True)["loss"])


SEARCHED = Space(
    filters_1=Pinned(value=2),
    filters_2=Pinned(value=3),
    batch_size=Choice(values=(4, 5)),
    beta=Range(min=1, max=3),
)


def test_beta_and_batch_size_are_declared_if_the_space_names_them():
    assert {"beta", "batch_size"} <= set(declared(SEARCHED).values)
    assert not {"beta", "batch_size"} & set(declared(Space()).values)
    assert {type(beta) for beta in sampled(SEARCHED, "beta", 20)} == {float}
    assert set(sampled(SEARCHED, "batch_size")) == {4, 5}


def test_a_model_is_built_with_its_beta_and_trained_with_its_batch_size():
    hyperparameters = declared(SEARCHED)
    hyperparameters.values |= {"beta": 2.5, "batch_size": 5}
    hypermodel = VAEHyperModel((8, 8, 1), SEARCHED)
    vae = hypermodel.build(hyperparameters)
    assert vae.beta == 2.5
    images = np.zeros((10, 8, 8, 1), np.float32)
    hypermodel.fit(hyperparameters, vae, images, batch_size=10, verbose=0)
    assert int(vae.optimizer.iterations) == 2


BRANCHES = Space(
    filters_1=Pinned(value=2),
    filters_2=Pinned(value=3),
    latent_dim=Choice(values=(2, 3)),
    activation=Choice(values=("relu", "gelu")),
    encoder=Choice(values=("conv", "dense")),
    decoder=Choice(values=("conv", "dense"), when={"latent_dim": (2,)}),
    dense_layers=Choice(values=(1, 2)),
    levels=Choice(values=(1, 2)),
    level_channels=Choice(values=(2, 4)),
)
"""A space with categories, alternatives and nested conditions."""


def test_keras_tuner_draws_only_values_that_a_configuration_uses():
    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("val_loss", "min"),
        max_trials=200,
        hyperparameters=declared(BRANCHES),
        seed=1,
    )
    hypermodel = VAEHyperModel((8, 8, 1), BRANCHES)
    oracle.save = oracle._save_trial = lambda *_: None
    oracle.verbose = 0
    seen = []
    for place in range(200):
        trial = oracle.create_trial(str(place))
        if trial.status != "RUNNING":
            break
        values = hypermodel._values_of(trial.hyperparameters)
        assert values == trial.hyperparameters.values
        assert BRANCHES.used({name: values.get(name, 0) for name in Space.model_fields}) == values
        seen.append(tuple(sorted(values.items())))
    assert len(seen) == len(set(seen)) > 0.8 * BRANCHES.size()


def test_keras_tuner_stores_and_reads_the_conditions():
    space = declared(BRANCHES)
    again = keras_tuner.HyperParameters.from_config(json.loads(json.dumps(space.get_config())))
    assert again.get_config() == space.get_config()
    assert [hp.conditions for hp in again.space] == [hp.conditions for hp in space.space]
    again.values = {"latent_dim": 2, "encoder": "dense", "decoder": "dense"}
    assert not again.is_active("filters_1")
    again.values["decoder"] = "conv"
    assert again.is_active("filters_1")
    del again.values["decoder"]
    assert again.is_active("filters_1"), "the decoder is convolutional by default"


def test_a_hyperparameter_that_is_never_used_has_no_value():
    dense = Space(encoder=Pinned(value="dense"), decoder=Pinned(value="dense"))
    assert "filters_1" not in declared(dense).values


@pytest.mark.long
@pytest.mark.slow
def test_a_plain_grid_search_of_keras_tuner_repeats_no_configuration(tmp_path):
    images = np.random.default_rng(0).random((8, 8, 8, 1), dtype=np.float32)
    space = BRANCHES.model_copy(update={"activation": None})
    tuner = keras_tuner.GridSearch(
        VAEHyperModel((8, 8, 1), space),
        objective=keras_tuner.Objective("val_loss", "min"),
        directory=tmp_path,
    )
    tuner.search(images, validation_data=(images,), batch_size=8, verbose=0)
    drawn = [tuple(sorted(t.hyperparameters.values.items())) for t in tuner.oracle.trials.values()]
    assert len(drawn) == len(set(drawn)) == space.size()


def test_the_recipe_is_applied_in_a_plain_keras_tuner_script(tmp_path):
    images = np.random.default_rng(0).random((48, 8, 8, 1)).astype("float32") * 0.2
    values = {"filters_1": 2, "filters_2": 3, "dense_units": 4, "latent_dim": 2, "batch_size": 8}
    recipe = {
        "learning_rate": 0.01,
        "learning_rate_warmup": 1,
        "weight_average": 0.9,
        "output_bias": "mean",
    }
    seen = {}

    class Recorder(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen["bias"] = float(self.model.output_bias[0])

        def on_train_batch_end(self, batch, logs=None):
            seen.setdefault("rates", []).append(float(self.model.optimizer.learning_rate))

    tuner = keras_tuner.RandomSearch(
        VAEHyperModel((8, 8, 1), Space.pinned_at(values | recipe)),
        objective=keras_tuner.Objective("val_loss", "min"),
        max_trials=1,
        directory=tmp_path,
    )
    tuner.search(images, validation_data=(images,), epochs=2, verbose=0, callbacks=[Recorder()])
    mean = images.mean()
    assert seen["bias"] == pytest.approx(np.log(mean / (1 - mean)), rel=1e-3)
    assert seen["rates"][:6] == pytest.approx([0.01 * step / 6 for step in range(1, 7)])
    assert seen["rates"][6:] == pytest.approx([0.01] * 6)
    # The saved model has the averaged weights, which were validated.
    (best,) = tuner.get_best_models(1)
    measured = best.evaluate(images, batch_size=8, verbose=0, return_dict=True)["loss"]
    assert measured == pytest.approx(tuner.oracle.get_best_trials(1)[0].score, rel=1e-5)


@pytest.mark.parametrize("recipe", [{}, {"weight_decay": 0.1}], ids=["plain", "weight decay"])
def test_a_promoted_trial_of_keras_tuner_keeps_what_was_trained(tmp_path, recipe):
    images = np.random.default_rng(0).random((32, 8, 8, 1)).astype("float32") * 0.2
    values = {"filters_1": 2, "filters_2": 3, "dense_units": 4, "learning_rate": 0.01}
    begun = []

    class Recorder(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            vae = self.model
            begun.append(
                [float(vae.output_bias[0]), float(vae.log_scale), int(vae.optimizer.iterations)]
            )

    pinned = Space.pinned_at(values | {"output_bias": "mean"} | recipe)
    space = pinned.model_copy(update={"filters_1": Choice(values=(2, 3))})
    tuner = keras_tuner.Hyperband(
        VAEHyperModel((8, 8, 1), space, likelihood="gaussian"),
        objective=keras_tuner.Objective("val_loss", "min"),
        max_epochs=2,
        factor=2,
        directory=tmp_path,
    )
    tuner.search(images, validation_data=(images,), batch_size=8, verbose=0, callbacks=[Recorder()])
    new = [one for one in begun if one[2] == 0]
    promoted = [one for one in begun if one[2] == 4]
    assert len(new) + len(promoted) == len(begun)
    assert promoted
    for bias, log_scale, _ in promoted:
        assert bias != new[0][0]
        assert log_scale != new[0][1]


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras counts the steps so.
def test_warm_up_holds_for_data_of_unknown_length():
    """The first epoch has the values of its middle. Later epochs know the number of steps."""
    values = {"filters_1": 2, "filters_2": 3, "dense_units": 4, "latent_dim": 2}
    recipe = {"learning_rate": 0.01, "learning_rate_warmup": 2, "kl_warmup": 2}
    recipe |= {"learning_rate_decay": "cosine"}
    hypermodel = VAEHyperModel((8, 8, 1), Space.pinned_at(values | recipe))
    hp = keras_tuner.HyperParameters()
    images = np.random.default_rng(0).random((12, 8, 8, 1)).astype("float32")
    unknown = tf.data.Dataset.from_tensor_slices(images).batch(4).filter(lambda batch: True)

    def fit(data):
        vae, rates, shares = hypermodel.build(hp), [], []

        class Recorder(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                rates.append(float(vae.optimizer.learning_rate))
                shares.append(float(vae.recipe.kl_share))

        hypermodel.fit(hp, vae, data, epochs=3, verbose=0, shuffle=False, callbacks=[Recorder()])
        return np.array([rates, shares])

    known = fit(tf.data.Dataset.from_tensor_slices(images).batch(4))
    counted = fit(unknown)
    np.testing.assert_allclose(counted[:, 3:], known[:, 3:], rtol=1e-6)
    middle = 0.01 * 0.5 * (1 + np.cos(np.pi * 0.5 / 3)) * 0.25, 0.25
    np.testing.assert_allclose(counted[:, :3], np.tile(middle, (3, 1)).T, rtol=1e-6)
