"""The space: categories, conditions, and the number of distinct configurations."""

import itertools

import pytest

from vaetune.config.family import (
    FAMILY,
    OPTIONAL,
    REFERENCE,
    STRUCTURAL,
    is_used,
    structure_of,
    used,
    value_of,
)
from vaetune.config.search_file import resolve
from vaetune.config.space import DEFAULT_SPACE, EARLIER_SPACE, Choice, Pinned, Range, Space
from vaetune.config.words import short_hyperparameters
from vaetune.errors import SpecError

BRANCHES = Space(
    filters_1=Choice(values=(4, 8)),
    latent_dim=Choice(values=(2, 4, 8)),
    encoder=Choice(values=("conv", "dense")),
    decoder=Choice(values=("conv", "dense"), when={"latent_dim": (2, 4)}),
    dense_layers=Choice(values=(1, 2)),
    stages=Choice(values=(2, 3)),
    levels=Range(min=1, max=3),
    level_channels=Choice(values=(2, 4), when={"levels": (2,)}),
)
"""A space with every kind of condition."""


@pytest.fixture
def refusal(tmp_path):
    """Returns the one-line error of a space in a search file."""

    def refuse(space, above=""):
        path = tmp_path / "mine.toml"
        path.write_text(f"{above}\n[space]\n{space}\n")
        with pytest.raises(SpecError) as caught:
            resolve(path)
        (line,) = str(caught.value).splitlines()
        return line.removeprefix(f"{path}: ")

    return refuse


def all_values(space):
    """Every value of every dimension, by name."""
    return {
        name: range(one.min, one.max + 1) if isinstance(one, Range) else one.listed()
        for name, one in space.dimensions()
    }


def distinct(space):
    """The distinct configurations of a space, found by enumeration."""
    values = all_values(space)
    found = [
        space.used(dict(zip(values, one, strict=True)))
        for one in itertools.product(*values.values())
    ]
    return {tuple(sorted(one.items())) for one in found}


def test_the_table_has_the_names_and_reference_values_of_the_family():
    assert {**REFERENCE, **OPTIONAL} == {
        "filters_1": 32,
        "filters_2": 64,
        "dense_units": 16,
        "latent_dim": 2,
        "learning_rate": 1e-3,
        "batch_size": 128,
        "beta": 1,
        "activation": "relu",
        "encoder": "conv",
        "decoder": "conv",
        "dense_layers": 1,
        "stages": 2,
        "blocks": 0,
        "normalization": "none",
        "output_stride": 1,
        "levels": 1,
        "level_channels": 4,
        "output_bias": "zeros",
        "learning_rate_warmup": 0,
        "weight_average": 0,
        "kl_warmup": 0,
        "free_bits": 0,
        "weight_decay": 0,
        "clip_norm": 0,
        "learning_rate_decay": "none",
    }
    assert tuple(FAMILY) == tuple(Space.model_fields)
    assert set(STRUCTURAL) == {
        "activation",
        "encoder",
        "decoder",
        "dense_layers",
        "stages",
        "blocks",
        "normalization",
        "output_stride",
        "levels",
    }
    assert all(one.accepts(one.reference) for one in FAMILY.values())


def test_a_missing_hyperparameter_has_its_reference_value():
    assert value_of({"stages": 3}, "stages") == 3
    assert value_of({}, "stages") == 2
    assert value_of({}, "activation") == "relu"


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ({}, {"dense_layers", "level_channels"}),
        ({"levels": 2}, {"dense_layers"}),
        ({"levels": 2, "encoder": "dense"}, {"levels", "level_channels"}),
        ({"decoder": "dense"}, {"output_stride", "levels", "level_channels"}),
        (
            {"encoder": "dense", "decoder": "dense"},
            {"filters_1", "filters_2", "stages", "blocks", "output_stride", "levels"}
            | {"level_channels"},
        ),
    ],
)
def test_hyperparameters_that_the_networks_do_not_have_are_not_used(configuration, expected):
    everything = {**REFERENCE, **OPTIONAL, **configuration}
    assert set(everything) - set(used(everything)) == expected
    assert not any(is_used(configuration, name) for name in expected)


def test_configurations_with_the_same_structure_have_the_same_description():
    assert structure_of({}) == structure_of({"activation": "relu", "latent_dim": 9, "blocks": 0})
    dense = {"encoder": "dense", "decoder": "dense"}
    assert structure_of(dense) == structure_of({**dense, "stages": 3})
    assert structure_of(dense) != structure_of({**dense, "dense_layers": 2})


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ('activation = { values = ["gelu", "swish"] }', 'space.activation needs one of "relu", '),
        ("activation = { values = [1, 2] }", 'space.activation needs one of "relu", '),
        ("encoder = { min = 1, max = 2 }", 'space.encoder needs one of "conv", "dense", received'),
        ('latent_dim = { values = ["two"] }', "space.latent_dim needs whole numbers of at least"),
        (
            "stages = { values = [2, 6] }",
            "space.stages needs whole numbers from 2 to 5, received 6",
        ),
        (
            "stages = { min = 1, max = 3 }",
            "space.stages needs whole numbers from 2 to 5, received 1",
        ),
        ("blocks = { value = 0.5 }", "space.blocks needs whole numbers from 0 to 4, received 0.5"),
        (
            "weight_average = { values = [0, 1] }",
            "space.weight_average needs numbers of at least 0 and below 1, received 1",
        ),
        ("free_bits = { value = -1 }", "space.free_bits needs finite numbers of at least 0"),
        ('levels = { min = "1", max = 3 }', "space.levels.min must be a number, received"),
    ],
)
def test_a_value_that_the_table_does_not_allow_is_refused(refusal, space, expected):
    assert refusal(space).startswith(expected)


def test_the_bounds_of_the_table_are_accepted():
    Space(
        stages=Range(min=2, max=5),
        blocks=Choice(values=(0, 4)),
        output_stride=Range(min=1, max=2),
        weight_average=Range(min=0, max=0.9999),
        kl_warmup=Pinned(value=0),
    )


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (
            "blocks = { value = 1, when = { stages = [2] } }",
            "space.blocks.when expects hyperparameters of this space, received stages.",
        ),
        (
            "blocks = { value = 1, when = { stagse = [2] } }\nstages = { values = [2, 3] }",
            'space.blocks.when expects hyperparameters, received "stagse". Did you mean "stages"?',
        ),
        (
            "blocks = { value = 1, when = { beta = [2] } }\nbeta = { min = 1, max = 2 }",
            "space.blocks.when expects hyperparameters with single values, received beta, a range "
            "of real numbers.",
        ),
        (
            "blocks = { value = 1, when = { stages = [4] } }\nstages = { values = [2, 3] }",
            "space.blocks.when expects values that stages has in this space (2, 3), received 4.",
        ),
        (
            'encoder = { values = ["conv", "dense"], when = { filters_1 = [8] } }\n'
            "filters_1 = { values = [8, 16] }",
            "space.filters_1 depends on itself, received the conditions filters_1 -> encoder -> "
            "filters_1.",
        ),
        (
            "blocks = { value = 1, when = { stages = [2] } }\n"
            "stages = { values = [2, 3], when = { blocks = [1] } }",
            "space.stages depends on itself, received the conditions stages -> blocks -> stages.",
        ),
        (
            "level_channels = { values = [2, 4] }",
            "space.level_channels is never used, received 2, 4: it is used only where levels is 2 "
            "or 3, but levels is 1.",
        ),
        (
            'encoder = { value = "dense" }\nlevels = { values = [1, 2] }',
            "space.levels is never used, received 1, 2: it is used only where encoder is conv and "
            "decoder is conv, but encoder is dense and decoder is conv.",
        ),
        (
            'encoder = { values = ["conv", "dense"] }\nlatent_dim = { values = [2, 4] }\n'
            'decoder = { value = "dense", when = { encoder = ["dense"] } }\n'
            "blocks = { value = 1, when = { decoder = ['dense'] } }",
            "space.blocks is never used",
        ),
        ("blocks = { value = 1, when = {} }", "space.blocks.when must contain at least one value"),
        ("blocks = { value = 1, when = 3 }", "space.blocks.when "),
        ("blocks = { value = 1, when = { stages = 2 } }", "space.blocks.when.stages "),
    ],
)
def test_an_impossible_condition_is_refused(refusal, space, expected):
    assert refusal(space).startswith(expected)


def test_a_condition_is_read_from_the_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "[space]\nlatent_dim = { values = [2, 4, 8] }\n"
        'decoder = { values = ["conv", "dense"], when = { latent_dim = [2, 4] } }\n'
    )
    space = resolve(path).spec.space
    assert space.decoder == Choice(values=("conv", "dense"), when={"latent_dim": (2, 4)})
    assert space.size() == 5


def test_a_space_of_dense_networks_has_no_filters(refusal):
    dense = Space(encoder=Pinned(value="dense"), decoder=Pinned(value="dense"))
    assert "filters_1" not in dense.used(dict.fromkeys(dict(dense.dimensions()), 1))
    expected = "space.filters_1 is never used"
    space = 'encoder = { value = "dense" }\ndecoder = { value = "dense" }\n'
    assert refusal(space + "filters_1 = { values = [8, 16] }").startswith(expected)


def test_parents_are_evaluated_first_and_other_names_keep_their_order():
    assert EARLIER_SPACE.evaluation_order() == list(REFERENCE)
    order = BRANCHES.evaluation_order()
    for name, condition in BRANCHES.conditions().items():
        for clause in condition:
            for alternative in clause:
                assert all(order.index(parent) < order.index(name) for parent in alternative)


def test_a_configuration_contains_only_used_hyperparameters():
    everything = {name: values[0] for name, values in all_values(BRANCHES).items()}
    conv = BRANCHES.used({**everything, "levels": 2})
    assert "dense_layers" not in conv
    assert conv["level_channels"] == 2
    large = BRANCHES.used({**everything, "latent_dim": 8, "decoder": "dense", "levels": 3})
    assert "decoder" not in large
    assert large["levels"] == 3, "a decoder that the configuration does not have is convolutional"
    assert "level_channels" not in large
    assert list(conv) == [name for name, _ in BRANCHES.dimensions() if name in conv]


def test_a_condition_on_an_unused_hyperparameter_does_not_hold():
    space = Space(
        levels=Choice(values=(1, 2)),
        level_channels=Choice(values=(2, 4)),
        weight_decay=Choice(values=(0, 0.1), when={"level_channels": (4,)}),
    )
    values = {**REFERENCE, "level_channels": 4, "weight_decay": 0.1}
    assert "weight_decay" not in space.used({**values, "levels": 1})
    assert "weight_decay" in space.used({**values, "levels": 2})


@pytest.mark.parametrize(
    "space",
    [
        BRANCHES,
        Space(),
        Space(encoder=Choice(values=("conv", "dense")), decoder=Choice(values=("conv", "dense"))),
        Space(
            latent_dim=Range(min=1, max=40), beta=Choice(values=(1, 2), when={"latent_dim": (7,)})
        ),
        Space(
            latent_dim=Range(min=1, max=4, when={"filters_1": (8,)}),
            filters_1=Choice(values=(8, 16)),
            activation=Choice(values=("relu", "gelu"), when={"latent_dim": (2, 3)}),
        ),
    ],
)
def test_distinct_configurations_are_counted(space):
    configurations = distinct(space)
    assert space.size() == len(configurations)
    structures = {tuple(sorted(structure_of(dict(one)).items())) for one in configurations}
    assert space.structures() == len(structures)


def test_structures_of_the_default_spaces_and_of_a_large_one_are_counted():
    assert EARLIER_SPACE.structures() == 1
    assert DEFAULT_SPACE.structures() == 3
    large = Space(
        activation=Choice(values=FAMILY["activation"].allowed),
        encoder=Choice(values=("conv", "dense")),
        decoder=Choice(values=("conv", "dense")),
        stages=Range(min=2, max=5),
        blocks=Range(min=0, max=4),
        normalization=Choice(values=("none", "group", "batch")),
        learning_rate=Range(min=1e-4, max=1e-2),
    )
    assert large.structures() == 5 * 3 * (3 * 4 * 5 + 1)


def test_the_learning_rate_decay_is_either_given_or_searched(refusal, tmp_path):
    space = 'learning_rate_decay = { values = ["none", "cosine"] }'
    line = refusal(space, '[training]\nlearning_rate_decay = "cosine"')
    assert line.startswith("training.learning_rate_decay conflicts with space.learning_rate_decay")
    path = tmp_path / "mine.toml"
    path.write_text(f"[space]\n{space}")
    assert resolve(path).spec.training.learning_rate_decay is None


@pytest.mark.parametrize(
    ("configuration", "searched", "expected"),
    [
        (REFERENCE, None, "the Keras example"),
        ({**REFERENCE, "latent_dim": 8, "activation": "gelu"}, None, "latent 8, gelu"),
        ({"filters_1": 8, "filters_2": 16, "beta": 0.5}, None, "filters 8/16, beta 0.5"),
        ({"filters_1": 8, "stages": 3, "levels": 2}, None, "filters_1 8, 3 stages, levels 2"),
        ({**REFERENCE, "activation": "relu"}, ("activation",), "relu"),
        (REFERENCE, tuple(REFERENCE), "filters 32/64, dense 16, latent 2, rate 0.001"),
        (
            {**REFERENCE, "normalization": "none", "encoder": "dense"},
            ("encoder", "normalization", "levels"),
            "dense encoder, no norm",
        ),
    ],
)
def test_a_short_text_names_the_searched_hyperparameters(configuration, searched, expected):
    assert short_hyperparameters(configuration, searched) == expected
