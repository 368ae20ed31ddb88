"""Templates of search files are valid, contain every key and overwrite no file."""

import tomllib

import pytest

from vaetune.config.choices import SEARCH_ALGORITHMS
from vaetune.config.comparison import flatten
from vaetune.config.family import OPTIONAL
from vaetune.config.reading import ReadingSpec
from vaetune.config.search_file import built_in_search, resolve
from vaetune.config.spec import BUDGET_KEYS, SearchSpec
from vaetune.config.template import compose, write_template
from vaetune.errors import ResultsError, SpecError

NOT_IN_TEMPLATES = {"description", "algorithm", "data.train_on"}


@pytest.fixture(params=SEARCH_ALGORITHMS)
def algorithm(request):
    return request.param


def uncommented(text):
    """Returns the template with all commented keys active. Explanations stay comments."""
    lines = [
        line.removeprefix("# ")
        if line.partition(" = ")[0].removeprefix("# ").isidentifier()
        else line
        for line in text.splitlines()
    ]
    return "\n".join(lines)


def test_a_template_defines_the_search_of_the_built_in_file(tmp_path, algorithm):
    path = write_template("mine", algorithm, folder=tmp_path)
    assert path == tmp_path / "searches" / "mine.toml"
    resolved = resolve(path)
    assert resolved.name == "mine"
    assert resolved.spec == resolve(built_in_search(algorithm)).spec


def test_a_template_keeps_the_comments_of_the_built_in_file(algorithm):
    template = compose("mine", algorithm, "digits").splitlines()
    for line in built_in_search(algorithm).read_text().splitlines():
        assert line in template or line.startswith(
            ("# The keys of [limits]", "# `vaetune new NAME`")
        )


def test_a_template_names_every_key(algorithm):
    named = set(flatten(tomllib.loads(uncommented(compose("mine", algorithm, "digits")))))
    budget = {f"budget.{key}" for key in ("max_epochs", *BUDGET_KEYS[algorithm])}
    known = {key for key in every_key() if not key.startswith("budget.")} | budget
    assert known - NOT_IN_TEMPLATES <= {key for name in named for key in (name, table_of(name))}


def every_key():
    for name, field in SearchSpec.model_fields.items():
        inner = getattr(field.annotation, "model_fields", {})
        yield from (f"{name}.{key}" for key in inner) if inner else (name,)


def table_of(key):
    return key.rpartition(".")[0]


@pytest.mark.parametrize("image_shape", [(28, 28, 1), (16, 12, 1), (64, 64, 3), (128, 96, 3)])
def test_the_example_of_a_starting_point_is_in_the_space(tmp_path, algorithm, image_shape):
    text = compose("mine", algorithm, "digits", image_shape, 5000)
    (tmp_path / "mine.toml").write_text(text.replace("# start_with = ", "start_with = "))
    (point,) = resolve(tmp_path / "mine.toml").spec.start_with
    assert point == {"learning_rate": 3e-3}


def test_commented_keys_have_their_defaults(tmp_path, algorithm):
    text = compose("mine", algorithm, "digits")
    examples = ("max_trials", "time_budget", "final_seeds", "start_with", "filters_")
    examples += ("choose_by", "leave_out", *OPTIONAL, *ReadingSpec.model_fields)
    optional = tuple(f"# {key}" for key in examples)
    given = [line for line in text.splitlines() if not line.startswith(optional)]
    (tmp_path / "mine.toml").write_text("\n".join(given))
    (tmp_path / "all.toml").write_text(uncommented("\n".join(given)))
    assert resolve(tmp_path / "mine.toml").spec == resolve(tmp_path / "all.toml").spec


def test_a_path_is_relative_to_the_search_file(tmp_path, algorithm):
    path = write_template("mine", algorithm, 'pictures/ca"ts é', tmp_path)
    spec = resolve(path).spec
    assert spec.data.dataset == str(tmp_path / "pictures" / 'ca"ts é')
    assert spec.description.endswith(' on ca"ts é')
    assert "digits" not in spec.description


@pytest.mark.parametrize("dataset", ["mnist", "/somewhere/images.npz"])
def test_names_and_absolute_paths_do_not_change(tmp_path, dataset):
    assert (
        resolve(write_template("mine", dataset=dataset, folder=tmp_path)).spec.data.dataset
        == dataset
    )


def test_an_existing_file_is_not_changed(tmp_path):
    path = write_template("mine", folder=tmp_path)
    path.write_text("seed = 5")
    with pytest.raises(SpecError, match=r"mine\.toml already exists\. Edit it"):
        write_template("mine", "grid", folder=tmp_path)
    assert path.read_text() == "seed = 5"


@pytest.mark.parametrize("name", ["best", "baselines"])
def test_a_reserved_name_is_refused(tmp_path, name):
    with pytest.raises(ResultsError, match=f"results/{name}/ is reserved"):
        write_template(name, folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "a/b", "a\\b", "/a", ".hidden", "-x", " a", "a\n", "a\0", "é" * 101],
)
def test_a_name_that_no_folder_can_have_is_refused(tmp_path, name):
    with pytest.raises(SpecError, match="they are kept in a folder of that name") as error:
        write_template(name, folder=tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_name_with_the_ending_of_the_file_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r'Give the name without "\.toml": "mine"'):
        write_template("mine.toml", folder=tmp_path)


def test_an_unprintable_path_is_refused(tmp_path):
    with pytest.raises(SpecError, match="cannot be written into a search file"):
        write_template("mine", dataset="bad\udcff", folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path):
    (tmp_path / "searches").write_text("a file")
    with pytest.raises(SpecError, match=r"mine\.toml cannot be written: "):
        write_template("mine", folder=tmp_path)
