"""Starting points lie in the space. Wrong ones are refused in one line."""

import pytest

from vaetune.config.comparison import differences
from vaetune.config.dimensions import Choice, Pinned, Range
from vaetune.config.search_file import find_search, resolve
from vaetune.config.space import Space
from vaetune.config.spec import SearchSpec
from vaetune.config.starting_points import settle, transfer
from vaetune.errors import SpecError

TABLES = """
[space]
latent_dim = { values = [2, 4, 8] }
learning_rate = { min = 1e-3, max = 1e-2, scale = "log" }
activation = { value = "gelu" }
encoder = { values = ["conv", "dense"] }
decoder = { values = ["conv", "dense"], when = { latent_dim = [2, 4] } }
levels = { values = [1, 2] }
level_channels = { values = [2, 3] }
"""


@pytest.fixture
def read(tmp_path):
    """Writes the text `points` as the starting points of a search file, and reads the file."""

    def read_points(points, overrides=None):
        path = tmp_path / "mine.toml"
        path.write_text(f"start_with = {points}\n{TABLES}")
        return resolve(path, overrides)

    return read_points


def test_starting_points_are_part_of_the_experiment(read):
    resolved = read('[{ latent_dim = 8 }, { learning_rate = 3e-3, activation = "gelu" }]')
    points = ({"latent_dim": 8}, {"learning_rate": 0.003, "activation": "gelu"})
    assert resolved.spec.start_with == points
    assert resolved.origins["start_with"] == "file"
    assert SearchSpec.model_validate_json(resolved.spec.model_dump_json()) == resolved.spec
    without = resolved.spec.model_copy(update={"start_with": None})
    listed = ", ".join(map(str, points))
    assert differences(resolved.spec, without) == [f"start_with: not set -> {listed}"]


def test_an_empty_list_means_no_starting_points(read):
    assert read("[]").spec.start_with is None
    assert "start_with" not in read("[]").origins


def test_a_flag_replaces_the_starting_points_of_the_file(read):
    resolved = read("[{ latent_dim = 8 }]", {"start_with": [{"latent_dim": 4}]})
    assert resolved.spec.start_with == ({"latent_dim": 4},)
    assert resolved.origins["start_with"] == "flag"


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("3", "start_with must be a list of tables such as [{ latent_dim = 8, learning_rate"),
        ("{ latent_dim = 8 }", "start_with must be a list of tables such as"),
        ("[8]", "start_with entry 1 must be a table of hyperparameters such as { latent_dim = 8"),
        ("[{}]", "entry 1 must be a table of hyperparameters such as"),
        (
            "[{ latent_dim = 8 }, { latentdim = 8 }]",
            'entry 2 expects hyperparameters, received "latentdim". Did you mean "latent_dim"? '
            "Expected names from: filters_1,",
        ),
        (
            "[{ beta = 1.0 }]",
            "entry 1 expects hyperparameters of this space, received beta. Add it to the space, or "
            "remove it here.",
        ),
        ("[{ latent_dim = true }]", "latent_dim must be a number or a text, received True."),
        ("[{ latent_dim = 8.5 }]", "latent_dim needs whole numbers of at least 1, received 8.5."),
        ("[{ learning_rate = nan }]", "learning_rate needs finite numbers above 0, received nan."),
        ('[{ activation = "tanh" }]', 'activation needs one of "relu", "leaky_relu", '),
        (
            "[{ latent_dim = 16 }]",
            "entry 1: latent_dim must have a value of the space (2, 4, 8), received 16.",
        ),
        (
            "[{ learning_rate = 0.5 }]",
            "learning_rate must have a value of the space (0.001 to 0.01), received 0.5.",
        ),
        ('[{ activation = "relu" }]', "activation must have a value of the space (gelu), received"),
        (
            '[{ encoder = "conv", latent_dim = 8, levels = 1, level_channels = 2 }]',
            "level_channels is used only where levels is 2 or 3, received levels = 1. Remove "
            "level_channels, or change that.",
        ),
        ("[{ level_channels = 2 }]", "received no levels. Name levels too."),
        (
            '[{ latent_dim = 8, decoder = "dense" }]',
            "decoder is used only where latent_dim is 2 or 4, received latent_dim = 8.",
        ),
        (
            '[{ encoder = "dense", filters_1 = 32 }]',
            "filters_1 is used only where encoder is conv or decoder is conv, received encoder = "
            "dense. Name decoder too.",
        ),
        (
            "[{ latent_dim = 8 }, { latent_dim = 4 }, { latent_dim = 8.0 }]",
            "entry 3: latent_dim needs whole numbers",
        ),
        (
            '[{ latent_dim = 8 }, { latent_dim = 4 }, { activation = "gelu", latent_dim = 8 }]',
            "entry 3 repeats entry 1, received {'activation': 'gelu', 'latent_dim': 8}. Remove one "
            "of them.",
        ),
    ],
)
def test_a_wrong_starting_point_is_refused_with_an_explanation(read, points, message):
    with pytest.raises(SpecError) as refused:
        read(points)
    assert message in str(refused.value)
    assert "mine.toml: start_with " in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_wrong_starting_point_is_reported_with_its_flag():
    with pytest.raises(SpecError, match=r"^--start-with entry 1: latent_dim must have a"):
        resolve(find_search("hyperband"), {"start_with": [{"latent_dim": 64}]})


@pytest.mark.parametrize(
    "point",
    [
        {"encoder": "conv", "filters_1": 32},
        {"latent_dim": 8, "filters_2": 64},  # With this latent_dim, the decoder is conv.
        {"latent_dim": 8, "encoder": "conv", "levels": 2, "level_channels": 3},
    ],
)
def test_a_hyperparameter_may_be_given_if_its_conditions_are_certain(read, point):
    assert read([{}], {"start_with": [point]}).spec.start_with == (point,)


SPACE = Space(
    latent_dim=Choice(values=(8, 16)),
    learning_rate=Range(min=1e-3, max=1e-2),
    activation=Pinned(value="gelu"),
    levels=Choice(values=(1, 2)),
    level_channels=Choice(values=(2, 4)),
)


def test_settled_values_include_pinned_and_unused_hyperparameters():
    known = settle(SPACE, {"levels": 1})
    assert (known["activation"], known["level_channels"]) == ("gelu", 4)
    assert "latent_dim" not in known
    assert "level_channels" not in settle(SPACE, {"latent_dim": 8})


def test_transferred_configurations_keep_the_values_that_the_space_has():
    theirs = {"latent_dim": 8, "learning_rate": 0.002, "activation": "gelu", "levels": 2}
    point, others = transfer(theirs | {"level_channels": 2, "dense_units": 16}, SPACE, {})
    assert point == {"latent_dim": 8, "learning_rate": 0.002, "levels": 2, "level_channels": 2}
    assert others == {}


def test_an_unknown_value_is_reported_with_the_values_of_the_space():
    theirs = {"latent_dim": 64, "learning_rate": 0.1, "dense_units": 128, "beta": 2.0, "stages": 3}
    point, others = transfer(theirs | {"batch_size": 32}, SPACE, {"batch_size": 64})
    assert point == {"levels": 1}
    assert others == {
        "latent_dim": "64 (here 8, 16)",
        "learning_rate": "0.1 (here 0.001 to 0.01)",
        "dense_units": "128 (here 16)",
        "batch_size": "32 (here 64)",
        "beta": "2.0 (here 1.0)",
        "activation": "relu (here gelu)",
        "stages": "3 (here 2)",
    }


def test_missing_values_are_those_of_the_keras_example():
    assert transfer({"learning_rate": 0.002}, SPACE, {})[0] == {"learning_rate": 0.002, "levels": 1}


def test_values_that_depend_on_an_unknown_value_are_not_transferred():
    theirs = {"latent_dim": 8, "activation": "gelu", "levels": 3, "level_channels": 2}
    point, others = transfer(theirs, SPACE, {})
    assert point == {"latent_dim": 8, "learning_rate": 0.001}
    assert others == {"levels": "3 (here 1, 2)", "level_channels": "2 (here 2, 4)"}


def test_a_value_that_the_space_does_not_use_is_reported_only_if_different():
    dimension = Choice(values=(2, 4), when={"latent_dim": (16,)})
    space = SPACE.model_copy(update={"level_channels": dimension})
    theirs = {"latent_dim": 8, "activation": "gelu", "levels": 2}
    point, others = transfer(theirs | {"level_channels": 2}, space, {})
    assert "level_channels" not in point
    assert others == {"level_channels": "2 (here 4)"}
    assert transfer(theirs | {"level_channels": 4}, space, {})[1] == {}
