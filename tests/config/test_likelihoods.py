"""The likelihood in search files: defaults, refusals, and the experiment."""

import pytest

from vaetune.config.comparison import differences
from vaetune.config.search_file import (
    built_in_search,
    built_in_searches,
    earlier_searches,
    resolve,
)
from vaetune.config.spec import DataSpec, SearchSpec
from vaetune.errors import SpecError


@pytest.fixture
def write(tmp_path):
    """Writes a search file, and returns its path."""

    def write_file(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write_file


def test_the_default_likelihood_is_that_of_the_keras_example(write):
    assert resolve(write("")).spec.data.likelihood == "bernoulli"


def test_built_in_files_of_every_version_have_the_same_likelihood(write):
    files = built_in_searches() | earlier_searches()
    assert {name.endswith("-0.1") for name in files} == {True, False}
    assert {resolve(path).spec.data.likelihood for path in files.values()} == {"bernoulli"}


def test_a_flag_overrides_the_likelihood_of_the_file(write):
    path = write('[data]\nlikelihood = "gaussian"')
    assert resolve(path).spec.data.likelihood == "gaussian"
    flags = {"data.likelihood": "discretized_logistic"}
    assert resolve(path, flags).spec.data.likelihood == "discretized_logistic"
    assert resolve(built_in_search("grid"), flags).origins["data.likelihood"] == "flag"


def test_an_unknown_likelihood_is_refused_with_the_known_ones(write):
    with pytest.raises(SpecError, match=r"likelihood.*bernoulli.*discretized_logistic"):
        resolve(write('[data]\nlikelihood = "normal"'))


def test_binarised_pixels_require_the_bernoulli_likelihood(write):
    with pytest.raises(SpecError, match='is for grey pixels, but binarize = "threshold" makes'):
        resolve(write('[data]\nbinarize = "threshold"\nlikelihood = "gaussian"'))
    text = '[data]\nbinarize = "threshold"\nlikelihood = "bernoulli"'
    assert resolve(write(text)).spec.data.binarize == "threshold"


def test_another_likelihood_is_another_experiment():
    ours = SearchSpec(data=DataSpec(likelihood="gaussian"))
    assert differences(ours, SearchSpec()) == ["data.likelihood: bernoulli -> gaussian"]


def test_a_journal_without_a_likelihood_is_the_bernoulli_experiment():
    written = SearchSpec().model_dump(mode="json", exclude_none=True)
    del written["data"]["likelihood"]
    assert SearchSpec.model_validate(written) == SearchSpec()
