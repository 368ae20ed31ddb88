"""Search files: values, precedence of flags, defaults, and one-line errors."""

import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from vaetune.config.choices import NAMED_SETS, SEARCH_ALGORITHMS
from vaetune.config.comparison import differences, is_larger
from vaetune.config.dimensions import _dimension_tag
from vaetune.config.search_file import (
    available_searches,
    describe,
    find_search,
    resolve,
    resolve_single,
)
from vaetune.config.space import (
    DEFAULT_SPACE,
    EARLIER_SPACE,
    REFERENCE,
    Choice,
    Pinned,
    Range,
    Space,
)
from vaetune.config.spec import (
    Budget,
    DataSpec,
    Limits,
    SearchSpec,
    Training,
    earlier_reference_training,
    single_configuration,
)
from vaetune.errors import SpecError

BUILT_IN = Path(__file__).parents[2] / "searches" / "hyperband.toml"
BUILT_IN_NAMES = sorted([*(name.replace("_", "-") for name in SEARCH_ALGORITHMS), "mnist"])


@pytest.fixture
def write(tmp_path):
    """Writes a search file, and returns its path."""

    def write_text(text, name="mine.toml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


@pytest.fixture
def refusal(write):
    """Returns the one-line error of a search file."""

    def refuse(text, overrides=None):
        with pytest.raises(SpecError) as refused:
            resolve(write(text), overrides)
        message = str(refused.value)
        assert "\n" not in message
        return message

    return refuse


# The defaults


def test_the_built_in_search_file_states_the_defaults():
    spec = resolve(BUILT_IN).spec
    assert spec.space == DEFAULT_SPACE
    assert spec.model_copy(update={"description": ""}) == SearchSpec(space=DEFAULT_SPACE)
    assert spec.description


@pytest.mark.parametrize("name", ["freeze-thaw", "random", "bayesian"])
def test_the_built_in_files_share_the_default_space(name):
    assert resolve(BUILT_IN.with_name(f"{name}.toml")).spec.space == DEFAULT_SPACE


def test_the_defaults_are_the_documented_ones():
    assert SearchSpec().model_dump(exclude_none=True) == {
        "description": "",
        "algorithm": "hyperband",
        "seed": 0,
        "baseline": True,
        "device": "auto",
        "data": {"dataset": "digits", "binarize": "none", "likelihood": "bernoulli"},
        "budget": {
            "max_epochs": 9,
            "min_epochs": 1,
            "factor": 3,
            "hyperband_iterations": 1,
            "promote_from": "last",
        },
        "limits": {"max_failure_rate": 0.5, "max_retries": 1, "keep_best": 3, "final_seeds": 0},
        "training": {
            "batch_size": 128,
            "precision": "float32",
            "compile": "auto",
            "learning_rate_decay": "none",
        },
        "space": {
            "filters_1": {"values": (16, 32, 64)},
            "filters_2": {"values": (32, 64, 128)},
            "dense_units": {"values": (16, 32, 64, 128, 256)},
            "latent_dim": {"values": (2, 4, 8, 16, 32)},
            "learning_rate": {"min": 1e-4, "max": 1e-2, "scale": "log"},
        },
    }


@pytest.mark.parametrize("name", SEARCH_ALGORITHMS)
def test_every_algorithm_has_a_search_file_of_its_name(name):
    spec = resolve(BUILT_IN.with_name(f"{name.replace('_', '-')}.toml")).spec
    assert spec.algorithm == name
    assert spec.description


@pytest.mark.parametrize(
    ("algorithm", "budget"),
    [
        ("hyperband", Budget(min_epochs=1, factor=3, hyperband_iterations=1, promote_from="last")),
        ("freeze_thaw", Budget(total_epochs=75)),
        ("random", Budget(max_trials=10)),
        ("bayesian", Budget(max_trials=25, initial_trials=10)),
        ("grid", Budget()),
    ],
)
def test_a_budget_has_the_keys_of_its_algorithm(algorithm, budget):
    filled = SearchSpec(algorithm=algorithm).budget
    given = budget.model_dump(include=budget.model_fields_set)
    assert filled.model_dump(exclude_none=True) == {"max_epochs": 9, **given}


def test_a_total_budget_below_the_epochs_of_one_configuration_is_refused(refusal):
    text = 'algorithm = "freeze_thaw"\n[budget]\nmax_epochs = 9\ntotal_epochs = 8'
    assert "total_epochs must be at least budget.max_epochs, received 8 and 9" in refusal(text, {})
    assert "--total-epochs must be at least" in refusal(text, {"budget.total_epochs": 7})


@pytest.mark.parametrize(
    ("text", "overrides", "subject"),
    [
        ("[budget]\nmax_trials = 5", {}, "budget.max_trials does not apply to the algorithm hyper"),
        ("", {"budget.max_trials": 5}, "--max-trials does not apply to the algorithm hyperband"),
        ('algorithm = "random"', {"budget.factor": 4}, "--factor does not apply to the algorithm"),
        ('algorithm = "grid"\n[budget]\ninitial_trials = 5', {}, "initial_trials does not apply"),
        ('algorithm = "random"', {"budget.hyperband_iterations": 2}, "--hyperband-iterations does"),
    ],
)
def test_a_budget_of_another_algorithm_is_refused(refusal, text, overrides, subject):
    message = refusal(text, overrides)
    assert subject in message
    assert "which takes max_epochs" in message


def test_a_budget_of_another_algorithm_is_refused_in_python():
    with pytest.raises(ValueError, match=r"budget\.factor does not apply to the algorithm random"):
        SearchSpec(algorithm="random", budget=Budget(factor=4))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2h", 7200)]
)
def test_a_time_budget_is_read_in_hours_minutes_and_seconds(text, seconds):
    assert Limits(time_budget=text).time_budget_s == seconds


def test_the_default_time_budget_is_infinite():
    assert Limits().time_budget_s == math.inf


@pytest.mark.parametrize("text", ["", "soon", "30", "0m", "m", "5m1h", "-5m", "1.5h"])
def test_a_time_budget_that_is_not_a_duration_is_refused(refusal, text):
    message = refusal("", {"limits.time_budget": text})
    assert message.startswith("--time-budget must be a time such as")


@pytest.mark.parametrize(
    ("ours", "theirs", "larger"),
    [
        ({"max_trials": 20}, {"max_trials": 10}, True),
        ({"max_trials": 10}, {"max_trials": 20}, False),
        ({"max_trials": 10}, {"max_trials": 10}, False),
        ({}, {"max_trials": 10}, True),  # None means the complete grid.
        ({"max_trials": 20, "max_epochs": 10}, {"max_trials": 10}, False),
        ({"hyperband_iterations": 2}, {}, True),
        ({"hyperband_iterations": 2, "factor": 4}, {}, False),
        ({"factor": 4}, {}, False),
    ],
)
def test_more_trials_or_iterations_alone_make_a_larger_budget(ours, theirs, larger):
    assert is_larger(Budget(**ours), Budget(**theirs)) is larger


def test_limits_are_not_part_of_the_experiment():
    ours = SearchSpec(limits=Limits(time_budget="5m", keep_best=9, max_failure_rate=1))
    assert differences(ours, SearchSpec()) == []


def test_the_defaults_of_the_earlier_space_are_the_keras_example():
    assert {name: EARLIER_SPACE.default(name) for name, _ in EARLIER_SPACE.dimensions()} == {
        "filters_1": 32,
        "filters_2": 64,
        "dense_units": 16,
        "latent_dim": 2,
        "learning_rate": 1e-3,
    }


def test_an_empty_file_has_the_defaults(write):
    resolved = resolve(write(""))
    assert resolved.spec == SearchSpec()
    assert set(resolved.origins.values()) == {"default"}


def test_an_omitted_hyperparameter_has_the_value_of_the_keras_example(write):
    space = resolve(write("[space]\nlatent_dim = { values = [4, 8] }")).spec.space
    assert space.latent_dim == Choice(values=(4, 8))
    assert space.filters_1 == Pinned(value=32)
    assert space.learning_rate == Pinned(value=1e-3)


def test_a_default_outside_a_dimension_is_replaced_by_its_first_value():
    space = Space(latent_dim=Choice(values=(8, 4)), filters_1=Range(min=40, max=50))
    assert space.default("latent_dim") == 8
    assert space.default("filters_1") == 40
    assert space.default("dense_units") == 16


def test_a_search_has_the_name_of_its_file(write):
    assert resolve(write("", "bolder.toml")).name == "bolder"


# Precedence


@pytest.mark.parametrize(
    ("key", "in_file", "flag"),
    [
        ("seed", 5, 0),
        ("seed", 0, 6),
        ("baseline", True, False),
        ("device", "gpu", "cpu"),
        ("data.dataset", "mnist", "fashion_mnist"),
        ("budget.max_epochs", 27, 81),
        ("budget.factor", 4, 2),
        ("training.batch_size", 32, 64),
    ],
)
def test_flags_override_files_and_files_override_defaults(write, key, in_file, flag):
    table, _, last = key.rpartition(".")
    line = f"{last} = {json.dumps(in_file)}"
    path = write(f"[{table}]\n{line}" if table else line)

    def outcome(path, overrides):
        resolved = resolve(path, overrides)
        value = resolved.spec
        for part in key.split("."):
            value = getattr(value, part)
        return value, resolved.origins[key]

    assert outcome(path, {key: flag}) == (flag, "flag")
    assert outcome(path, {key: None}) == (in_file, "file")
    assert outcome(path, None) == (in_file, "file")
    assert outcome(write("", "empty.toml"), None)[1] == "default"


def test_every_value_has_an_origin(write):
    path = write('description = "x"\n[budget]\nfactor = 4\n[space]\nlatent_dim = { value = 3 }')
    origins = resolve(path, {"seed": 3, "budget.max_epochs": None}).origins
    assert {key: origin for key, origin in origins.items() if origin != "default"} == {
        "description": "file",
        "seed": "flag",
        "budget.factor": "file",
        "space.latent_dim": "file",
    }
    assert origins["budget.max_epochs"] == "default"
    assert origins["space.filters_1"] == "default"


@pytest.mark.parametrize("text", ["seed = 0", "seed = 0\n[space]\nlatent_dim = { value = 2 }"])
def test_a_seed_of_zero_counts_as_given(write, text):
    resolved = resolve(write(text))
    assert (resolved.spec.seed, resolved.origins["seed"]) == (0, "file")


# Bad input

WRONG_VALUES = {
    "seed = -1": ["seed", "greater than or equal to 0", "-1"],
    "seed = 2147483648": ["seed", "less than 2147483648"],
    "seed = 1.0": ["seed", "integer", "1.0"],
    "seed = true": ["seed", "integer", "True"],
    'seed = "0"': ["seed", "integer", "'0'"],
    "baseline = 1": ["baseline", "boolean", "received 1"],
    'baseline = "yes"': ["baseline", "boolean", "'yes'"],
    'device = "tpu"': ["device", "'auto', 'cpu' or 'gpu'", "'tpu'"],
    "description = 3": ["description", "string", "received 3"],
    'algorithm = "hyperbnad"': ["algorithm", "hyperbnad", 'Did you mean "hyperband"?'],
    'algorithm = "single"': ["algorithm", "single", "Expected one of: hyperband"],
    "algorithm = 3": ["unknown algorithm 3", "Expected one of: hyperband"],
    '[data]\ndataset = ""': ["data.dataset", "at least 1 character"],
    "[data]\ndataset = 3": ["data.dataset", "string", "received 3"],
    "[budget]\nmax_epochs = 0": ["budget.max_epochs", "greater than or equal to 1", "received 0"],
    "[budget]\nmax_epochs = 3.0": ["budget.max_epochs", "integer", "3.0"],
    "[budget]\nmax_epochs = true": ["budget.max_epochs", "integer", "True"],
    "[budget]\nfactor = 1": ["budget.factor", "greater than or equal to 2", "received 1"],
    "[budget]\nhyperband_iterations = 0": ["budget.hyperband_iterations", "received 0"],
    "[training]\nbatch_size = 0": ["training.batch_size", "greater than or equal to 1"],
    '[training]\nprecision = "float16"': ["training.precision", "'mixed_bfloat16'", "'float16'"],
    "space = 3": ["space must be a table", "received 3"],
    "budget = [9]": ["budget must be a table", "[9]"],
    'data = "digits"': ["data must be a table", "'digits'"],
    "[[training]]\nbatch_size = 1": ["training must be a table"],
}

WRONG_DIMENSIONS = {
    "latent_dim = 2": ["space.latent_dim", "{ value = ... }", "received 2"],
    "latent_dim = [2, 4]": ["space.latent_dim", "{ values = [...] }", "[2, 4]"],
    "latent_dim = {}": ["space.latent_dim", "{ min = ..., max = ...", "{}"],
    "latent_dim = { valuess = [2] }": ["space.latent_dim", "{ values = [...] }", "valuess"],
    "latent_dim = { values = [] }": ["space.latent_dim.values", "at least one value", "[]"],
    "latent_dim = { values = 3 }": ["space.latent_dim.values", "received 3"],
    "latent_dim = { values = [4, 8, 4] }": ["space.latent_dim", "repeat", "[4, 8, 4]"],
    "latent_dim = { values = [2], min = 1 }": ["space.latent_dim", "must be one of", "'min': 1"],
    "latent_dim = { value = 2, values = [2] }": ["space.latent_dim", "must be one of"],
    "latent_dim = { value = 2, max = 4 }": ["space.latent_dim", "must be one of"],
    "latent_dim = { min = 1 }": ["space.latent_dim.max", "missing"],
    "latent_dim = { max = 1 }": ["space.latent_dim.min", "missing"],
    "latent_dim = { min = 4, max = 4 }": ["space.latent_dim", "min = 4 and max = 4", "{ value ="],
    "latent_dim = { min = 8, max = 4 }": ["space.latent_dim", "min = 8 and max = 4"],
    'latent_dim = { min = 1, max = 4, scale = "log2" }': ["scale", "'linear' or 'log'", "'log2'"],
    'latent_dim = { min = 0, max = 4, scale = "log" }': ["space.latent_dim", "above 0", "min = 0"],
    "latent_dim = { min = 0, max = 4 }": ["space.latent_dim", "at least 1", "received 0"],
    "latent_dim = { value = 2.0 }": ["space.latent_dim", "whole numbers", "2.0"],
    "latent_dim = { value = nan }": ["space.latent_dim", "whole numbers", "nan"],
    "dense_units = { values = [16, -1] }": ["space.dense_units", "at least 1", "-1"],
    'learning_rate = { min = 0.0, max = 1, scale = "log" }': ["space.learning_rate", "min = 0.0"],
    'learning_rate = { min = -1, max = 1, scale = "log" }': ["space.learning_rate", "min = -1"],
    "learning_rate = { min = -1, max = 1 }": ["space.learning_rate", "above 0", "-1"],
    "learning_rate = { min = nan, max = 1 }": ["space.learning_rate", "nan"],
    "learning_rate = { min = 1e-3, max = nan }": ["space.learning_rate", "nan"],
    "learning_rate = { min = 1e-3, max = inf }": ["space.learning_rate", "finite", "inf"],
    "learning_rate = { value = inf }": ["space.learning_rate", "finite", "inf"],
    "learning_rate = { value = nan }": ["space.learning_rate", "finite", "nan"],
    "learning_rate = { values = [1e-3, nan] }": ["space.learning_rate", "finite", "nan"],
    "learning_rate = { value = 0 }": ["space.learning_rate", "above 0", "received 0"],
}


@pytest.mark.parametrize("text", WRONG_VALUES)
def test_a_wrong_value_is_refused_with_its_key_and_the_expected_values(refusal, text):
    message = refusal(text)
    assert "mine.toml: " in message
    for fact in WRONG_VALUES[text]:
        assert fact in message


@pytest.mark.parametrize("line", WRONG_DIMENSIONS)
def test_an_empty_or_contradictory_dimension_is_refused(refusal, line):
    message = refusal(f"[space]\n{line}")
    assert "mine.toml: " in message
    for fact in WRONG_DIMENSIONS[line]:
        assert fact in message


@pytest.mark.parametrize("value", ["true", '"2"', "[2]", "{}", "2026-03-04"])
@pytest.mark.parametrize("form", ["value = {}", "values = [4, {}]", "min = {}, max = 9"])
def test_a_value_that_is_not_a_number_is_refused(refusal, form, value):
    message = refusal(f"[space]\nlatent_dim = {{ {form.replace('{}', value)} }}")
    key = form.partition(" ")[0]
    assert f"space.latent_dim.{key}" in message or "space.latent_dim needs" in message
    assert re.search("must be a number(| or a text), received|needs whole numbers", message)
    assert "more wrong" not in message


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("sed = 1", ['key "sed"', 'Did you mean "seed"?', "algorithm"]),
        ("[budgets]\nfactor = 3", ['key "budgets"', 'Did you mean "budget"?']),
        ("[budget]\nmax_epoch = 3", ['key "budget.max_epoch"', 'Did you mean "max_epochs"?']),
        ("[data]\ndatset = 'x'", ['key "data.datset"', 'Did you mean "dataset"?']),
        ("[training]\nepochs = 3", ['key "training.epochs"', "Expected one of: batch_size"]),
        (
            "[space]\nlatent_dims = { value = 2 }",
            ['hyperparameter "space.latent_dims"', 'Did you mean "latent_dim"?', "filters_2"],
        ),
        (
            "[space]\nlatent_dim = { min = 1, max = 3, sclae = 'log' }",
            ['key "space.latent_dim.sclae"', 'Did you mean "scale"?'],
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_closest_known_key(refusal, text, facts):
    message = refusal(text)
    for fact in ["mine.toml", "unknown", *facts]:
        assert fact in message


@pytest.mark.parametrize(
    ("text", "meant"),
    [("max_epochs = 3", "budget.max_epochs"), ("[data]\ndataset = 'mnist'\nseed = 3", "seed")],
)
def test_a_key_in_the_wrong_table_is_refused_with_the_right_one(refusal, text, meant):
    assert f'Did you mean "{meant}"?' in refusal(text)


def test_a_key_of_another_kind_of_dimension_is_not_suggested(refusal):
    message = refusal("[space]\nlatent_dim = { value = 2, scale = 'log' }")
    assert 'unknown key "space.latent_dim.scale"' in message
    assert message.endswith("Expected one of: value, when.")


def test_the_first_of_several_wrong_values_is_reported_and_the_others_are_counted(refusal):
    two = refusal("seed = -1\n[budget]\nfactor = 1")
    assert "(1 more wrong value)" in two
    assert "(2 more wrong values)" in refusal("seed = -1\n[budget]\nfactor = 1\nmax_epochs = 0")


def test_a_wrong_flag_is_reported_by_its_name(refusal):
    message = refusal("", {"budget.max_epochs": 0, "seed": 3})
    assert message.startswith("--max-epochs should be greater than or equal to 1, received 0")
    assert refusal("seed = 3", {"seed": -1}).startswith("--seed ")


def test_a_number_in_place_of_a_table_is_refused_despite_a_flag(refusal):
    assert "budget must be a table" in refusal("budget = 3", {"budget.max_epochs": 3})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed = 1\nbaseline = maybe\n", 2),
        ("seed = 1\n\n[budget\nfactor = 3\n", 3),
        ("seed = 1\nseed = 2\n", 2),
        ("seed = 1\nseed = 2", 2),
        ('seed = 1\ndescription = """never closed', 2),
    ],
)
def test_broken_toml_is_refused_with_the_line(refusal, text, line):
    message = refusal(text)
    assert "mine.toml is not valid TOML" in message
    assert f"line {line}" in message


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b'description = "\xff"')
    with pytest.raises(SpecError, match=r"mine\.toml is not a UTF-8 text file"):
        resolve(path)


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    with pytest.raises(SpecError, match="No such file"):
        resolve(tmp_path / "gone.toml")
    with pytest.raises(SpecError, match="cannot be read"):
        resolve(tmp_path)


# Paths of images


@pytest.mark.parametrize("name", NAMED_SETS)
def test_a_named_image_set_stays_a_name(write, name):
    assert resolve(write(f'[data]\ndataset = "{name}"')).spec.data.dataset == name
    assert resolve(write(""), {"data.dataset": name}).spec.data.dataset == name


def test_a_relative_path_in_a_file_starts_at_the_file(write, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    path = write('[data]\ndataset = "images/x.npz"', "deep/mine.toml")
    assert resolve(path).spec.data.dataset == str(tmp_path / "deep" / "images" / "x.npz")
    relative = Path("../deep/mine.toml")
    assert resolve(relative).spec.data.dataset == str(tmp_path / "deep" / "images" / "x.npz")


def test_a_relative_path_in_a_flag_starts_at_the_working_directory(write, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    path = write('[data]\ndataset = "images/x.npz"', "deep/mine.toml")
    flagged = resolve(path, {"data.dataset": "y.npz"})
    assert flagged.spec.data.dataset == str(elsewhere / "y.npz")
    assert flagged.origins["data.dataset"] == "flag"
    single = resolve_single({}, {"data.dataset": "y.npz"}).spec
    assert single.data.dataset == str(elsewhere / "y.npz")


def test_a_tilde_is_the_home_folder(write, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    path = write('[data]\ndataset = "~/x.npz"')
    assert resolve(path).spec.data.dataset == "/home/somebody/x.npz"
    assert resolve(path, {"data.dataset": "~/y"}).spec.data.dataset == "/home/somebody/y"


@pytest.mark.parametrize("dataset", ["~no-such-user/x.npz", "a\0b"])
def test_a_dataset_that_cannot_be_a_path_is_refused(refusal, dataset):
    assert "data.dataset" in refusal(f"[data]\ndataset = {json.dumps(dataset)}")
    assert "--dataset" in refusal("", {"data.dataset": dataset})


# Finding a search


@pytest.fixture
def write_search(tmp_path, monkeypatch):
    """Changes to a temporary working directory, and writes search files into its `searches/`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "searches").mkdir()

    def write_file(name, text='description = "mine"'):
        path = tmp_path / "searches" / f"{name}.toml"
        path.write_text(text)
        return path

    return write_file


def test_a_search_is_found_by_name_in_the_working_directory(write_search):
    path = write_search("bolder")
    assert find_search("bolder") == path


def test_the_built_in_search_is_found_from_any_folder(write_search):
    assert find_search("hyperband").samefile(BUILT_IN)


def test_a_search_file_hides_the_built_in_search_of_the_same_name(write_search):
    path = write_search("hyperband")
    assert find_search("hyperband") == path
    assert available_searches()["hyperband"] == path


def test_a_search_is_found_by_path(write_search, tmp_path):
    path = write_search("bolder")
    assert find_search(str(path)).samefile(path)
    assert find_search("searches/bolder.toml").samefile(path)
    plain = tmp_path / "plain"
    plain.write_text("")
    assert find_search("./plain").samefile(plain)


@pytest.mark.parametrize("wanted", ["boldr", "boldr.toml", "searches/boldr.toml", "./boldr"])
def test_an_unknown_search_is_refused_with_a_list_of_the_available_ones(write_search, wanted):
    write_search("bolder")
    with pytest.raises(SpecError) as refused:
        find_search(wanted)
    message = str(refused.value)
    assert wanted in message
    assert 'Did you mean "bolder"?' in message
    assert "There are: bayesian, bolder, freeze-thaw, grid, hyperband, mnist, random" in message


def test_searches_are_listed_by_name(write_search):
    write_search("zebra")
    write_search("ant")
    assert list(available_searches()) == ["ant", *BUILT_IN_NAMES, "zebra"]


def test_a_broken_file_is_described_as_unreadable(write_search):
    assert describe(write_search("fine")) == "mine"
    assert describe(write_search("broken", "seed = ")).startswith("cannot be read: ")


# One configuration


def test_a_single_training_has_the_keras_example_as_default():
    single = resolve_single({"latent_dim": 8}, {"budget.max_epochs": 4, "seed": None}).spec
    assert single == SearchSpec(
        algorithm="single",
        baseline=False,
        budget=Budget(max_epochs=4),
        space=Space(latent_dim=Pinned(value=8)),
    )


def test_a_wrong_hyperparameter_of_a_single_training_is_refused_by_its_flag():
    with pytest.raises(SpecError, match=r"^--latent-dim needs whole numbers of at least 1, .* 0"):
        resolve_single({"latent_dim": 0}, {})
    with pytest.raises(SpecError, match=r"^--learning-rate needs finite numbers above 0, .* nan"):
        resolve_single({"learning_rate": math.nan}, {})
    with pytest.raises(SpecError, match=r"^--max-epochs .* 0"):
        resolve_single({}, {"budget.max_epochs": 0})


def test_a_single_configuration_is_trained_with_the_settings_of_its_search():
    like = SearchSpec(
        description="bolder",
        seed=7,
        device="cpu",
        data=DataSpec(dataset="mnist"),
        budget=Budget(max_epochs=81, factor=4),
        training=Training(batch_size=32),
    )
    single = single_configuration(REFERENCE, 27, like)
    assert (single.seed, single.device, single.data) == (7, "cpu", like.data)
    assert single.training == like.training
    assert single.budget.max_epochs == 27
    assert (single.algorithm, single.baseline, single.description) == ("single", False, "")
    assert single.space == Space()


def test_a_winner_is_trained_with_the_settings_of_its_search_and_the_flags():
    like = SearchSpec(
        seed=7, data=DataSpec(dataset="mnist"), training=Training(precision="mixed_bfloat16")
    )
    winner = {**REFERENCE, "latent_dim": 16, "batch_size": 64, "beta": 2.0}
    flags = {"budget.max_epochs": 30, "data.train_on": "train+validation"}
    resolved = resolve_single({"learning_rate": 0.002}, flags, winner, like)
    spec, origins = resolved.spec, resolved.origins
    assert (spec.seed, spec.data.dataset, spec.training.precision) == (7, "mnist", "mixed_bfloat16")
    assert spec.space == Space.pinned_at(winner | {"learning_rate": 0.002})
    assert (spec.data.train_on, spec.training.batch_size) == ("train+validation", None)
    chosen = {key: origins[key] for key in ("seed", "space.latent_dim", "budget.max_epochs")}
    assert chosen == {"seed": "search", "space.latent_dim": "search", "budget.max_epochs": "flag"}
    assert origins["space.learning_rate"] == "flag"
    smaller = resolve_single({}, {"training.batch_size": 32}, winner, like).spec
    assert (smaller.training.batch_size, smaller.space.batch_size) == (32, None)


def test_a_flag_limits_the_images_that_a_winner_is_trained_on():
    like = SearchSpec(
        algorithm="single", baseline=False, data=DataSpec(train_on="train+validation")
    )
    without_flag = resolve_single({}, {}, REFERENCE, like).spec
    assert without_flag.data.train_on == "train+validation"
    assert (
        resolve_single({}, {"data.train_on": "train"}, REFERENCE, like).spec.data.train_on is None
    )
    assert resolve_single({}, {"data.train_on": "train"}).spec.data.train_on is None


# Searched batch size and beta


SEARCHED = """
[space]
batch_size = { values = [32, 64] }
beta = { min = 0.5, max = 2, scale = "log" }
"""


def test_batch_size_and_beta_are_searched_only_if_the_space_names_them(write):
    spec = resolve(write(SEARCHED)).spec
    names = [name for name, _ in spec.space.dimensions()]
    assert names[-2:] == ["batch_size", "beta"]
    assert spec.training.batch_size is None
    assert spec.space.default("batch_size") == 32
    assert spec.space.default("beta") == 1.0
    assert "batch_size" not in dict(resolve(write("")).spec.space.dimensions())


def test_a_searched_batch_size_is_recorded_and_read_back(write):
    spec = resolve(write(SEARCHED)).spec
    assert SearchSpec.model_validate_json(spec.model_dump_json()) == spec


def test_a_batch_size_is_either_given_or_searched(refusal):
    line = refusal(SEARCHED + "[training]\nbatch_size = 64")
    assert "training.batch_size conflicts with space.batch_size" in line


def test_a_batch_size_flag_replaces_the_batch_sizes_of_the_space(write):
    spec = resolve(write(SEARCHED), {"training.batch_size": 64}).spec
    assert spec.training.batch_size == 64
    assert spec.space.batch_size is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch_size = { values = [0] }", "space.batch_size needs whole numbers of at least 1"),
        ("batch_size = { min = 1.5, max = 3 }", "needs whole numbers of at least 1, received 1.5"),
        ("beta = { min = -1, max = 3 }", "space.beta needs finite numbers of at least 0"),
        ("beta = { value = inf }", "needs finite numbers of at least 0, received inf"),
    ],
)
def test_a_batch_size_or_beta_out_of_range_is_refused(refusal, text, expected):
    assert expected in refusal(f"[space]\n{text}")


def test_the_earlier_reference_has_batch_size_128_if_batch_size_is_searched(write):
    spec = resolve(write(SEARCHED)).spec
    assert earlier_reference_training(spec.training).batch_size == 128
    other = Training(batch_size=32, precision="mixed_bfloat16")
    assert earlier_reference_training(other) == other


# Binarisation and training on the validation images


@pytest.mark.parametrize("how", ["none", "threshold", "stochastic"])
def test_pixels_may_be_binarised(write, how):
    assert resolve(write(f'[data]\nbinarize = "{how}"')).spec.data.binarize == how


def test_an_unknown_binarisation_is_refused(refusal):
    assert "data.binarize" in refusal('[data]\nbinarize = "yes"')


def test_a_search_may_not_train_on_validation_images(refusal):
    line = refusal('[data]\ntrain_on = "train+validation"')
    assert "is only for `vaetune train`: a search ranks its trials by the validation images" in line


def test_patience_applies_only_to_a_single_training(refusal):
    assert "budget.patience does not apply to" in refusal("[budget]\npatience = 3")
    assert resolve_single({}, {"budget.patience": 3}).spec.budget.patience == 3
    assert resolve_single({}, {}).spec.budget.patience is None


# The same experiment


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"algorithm": "single"}, "algorithm: hyperband -> single"),
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"budget": Budget(max_epochs=27)}, "budget.max_epochs: 9 -> 27"),
        ({"budget": Budget(factor=4)}, "budget.factor: 3 -> 4"),
        ({"training": Training(batch_size=1)}, "training.batch_size: 128 -> 1"),
        (
            {"training": Training(precision="mixed_bfloat16")},
            "training.precision: float32 -> mixed_bfloat16",
        ),
        (
            {"training": Training(learning_rate_decay="cosine")},
            "training.learning_rate_decay: none -> cosine",
        ),
        (
            {"data": DataSpec(binarize="threshold")},
            "data.binarize: none -> threshold",
        ),
        (
            {"space": EARLIER_SPACE.model_copy(update={"latent_dim": Pinned(value=2)})},
            "space.latent_dim: {'values': (2, 4, 8, 16, 32)} -> {'value': 2}",
        ),
    ],
)
def test_another_algorithm_seed_budget_training_or_space_is_another_experiment(change, expected):
    assert differences(SearchSpec().model_copy(update=change), SearchSpec()) == [expected]


@pytest.mark.parametrize(
    "change",
    [
        {"description": "another description"},
        {"baseline": False},
        {"device": "cpu"},
        {"training": Training(compile="padded")},
        {"data": DataSpec(dataset="/moved/digits.npz")},
    ],
)
def test_settings_of_a_session_do_not_change_the_experiment(change):
    assert differences(SearchSpec().model_copy(update=change), SearchSpec()) == []


def test_every_difference_is_listed():
    ours = SearchSpec(seed=1, budget=Budget(factor=4))
    assert differences(ours, SearchSpec()) == ["budget.factor: 3 -> 4", "seed: 0 -> 1"]


# Round trips

wholes = st.integers(1, 4096)
rates = st.floats(min_value=1e-300, max_value=1e300) | st.integers(1, 1000)


@st.composite
def ranges(draw, numbers):
    low, high = sorted(draw(st.lists(numbers, min_size=2, max_size=2, unique=True)))
    return Range(min=low, max=high, scale=draw(st.sampled_from(["linear", "log"])))


def dimensions(numbers):
    """Any valid dimension over numbers."""
    values = st.lists(numbers, min_size=1, max_size=5, unique=True).map(tuple)
    return st.builds(Pinned, value=numbers) | st.builds(Choice, values=values) | ranges(numbers)


whole_dimensions = dimensions(wholes)
BUDGETS = {
    "hyperband": {
        "min_epochs": st.just(1),
        "factor": st.integers(2, 9),
        "hyperband_iterations": st.integers(1, 9),
        "promote_from": st.sampled_from(["last", "best"]),
    },
    "freeze_thaw": {"total_epochs": st.integers(999, 9999), "max_trials": st.integers(1, 999)},
    "random": {"max_trials": st.integers(1, 999)},
    "bayesian": {"max_trials": st.integers(100, 999), "initial_trials": st.integers(1, 99)},
    "grid": {"max_trials": st.integers(1, 999)},
}


@st.composite
def draw_spec(draw):
    algorithm = draw(st.sampled_from(SEARCH_ALGORITHMS))
    return draw(
        st.builds(
            SearchSpec,
            description=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
            algorithm=st.just(algorithm),
            seed=st.integers(0, 2**31 - 1),
            baseline=st.booleans(),
            device=st.sampled_from(["auto", "cpu", "gpu"]),
            data=st.builds(
                DataSpec,
                dataset=st.sampled_from(NAMED_SETS)
                | st.from_regex("/[a-zé ]{1,9}/[a-z]{1,9}", fullmatch=True),
            ),
            budget=st.builds(Budget, max_epochs=st.integers(1, 999), **BUDGETS[algorithm]),
            training=st.builds(Training, batch_size=st.integers(1, 9999)),
            limits=st.builds(
                Limits,
                time_budget=st.from_regex("[1-9]h[1-9][0-9]?m", fullmatch=True),
                max_failure_rate=st.floats(0, 1),
                max_retries=st.integers(0, 9),
                keep_best=st.integers(1, 99),
            ),
            space=st.builds(
                Space,
                filters_1=whole_dimensions,
                filters_2=whole_dimensions,
                dense_units=whole_dimensions,
                latent_dim=whole_dimensions,
                learning_rate=dimensions(rates),
            ),
        )
    )


@st.composite
def draw_spec_with_starting_points(draw):
    """Any spec, with at most one starting point in its space."""
    spec = draw(draw_spec())
    values = st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(one.listed()) for name, one in spec.space.dimensions()}
    )
    points = draw(st.lists(values.filter(bool), max_size=1))
    return SearchSpec.model_validate(dict(spec) | {"start_with": points or None})


specs = draw_spec_with_starting_points()


def to_toml(value):
    """A spec, or a value in it, as TOML. Values of None are left out: TOML has no null value."""
    match value:
        case SearchSpec():
            given = ((key, part) for key, part in value if part is not None)
            return "\n".join(f"{key} = {to_toml(part)}" for key, part in given)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case tuple():
            return f"[{', '.join(map(to_toml, value))}]"
        case dict():
            value = value.items()
    parts = [f"{key} = {to_toml(part)}" for key, part in value if part is not None]
    return "{ " + ", ".join(parts) + " }"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spec=specs)
def test_a_search_file_defines_the_whole_experiment(write, spec):
    resolved = resolve(write(to_toml(spec)))
    assert resolved.spec == spec
    assert set(resolved.origins.values()) == {"file"}


@settings(deadline=None, max_examples=50)
@given(spec=specs)
def test_a_spec_does_not_change_in_a_json_round_trip(spec):
    again = SearchSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert differences(again, spec) == []


@settings(deadline=None, max_examples=50)
@given(spec=specs)
def test_a_default_is_always_inside_the_space(spec):
    for name, dimension in spec.space.dimensions():
        assert dimension.contains(spec.space.default(name))


def test_a_byte_order_mark_is_ignored(tmp_path):
    (tmp_path / "mine.toml").write_text("seed = 3", encoding="utf-8-sig")
    assert resolve(tmp_path / "mine.toml").spec.seed == 3


@pytest.mark.parametrize(
    ("dimensions", "size"),
    [
        ({}, 1),
        ({"latent_dim": Choice(values=(2,))}, 1),
        ({"latent_dim": Choice(values=(2, 4)), "beta": Choice(values=(1, 2, 4))}, 6),
        ({"latent_dim": Range(min=2, max=32, scale="log")}, 31),
        ({"learning_rate": Range(min=1, max=2), "latent_dim": Choice(values=(2, 4))}, math.inf),
    ],
)
def test_the_configurations_of_a_space_are_counted(dimensions, size):
    assert Space(**dimensions).size() == size


def test_an_interrupt_is_not_lost_while_a_space_is_serialized(monkeypatch):
    def stop(raw):
        raise KeyboardInterrupt

    stored = DEFAULT_SPACE.model_dump_json()
    monkeypatch.setattr(_dimension_tag, "__code__", stop.__code__)
    assert DEFAULT_SPACE.model_dump_json() == stored, "Pydantic lost the interrupt"
