"""The likelihood in search files: defaults, refusals, and the experiment."""

import pytest

from vaetune.config.search_file import built_in_search, built_in_searches, resolve
from vaetune.config.spec import DataSpec, SearchSpec, differences
from vaetune.config.template import write_template
from vaetune.errors import SpecError

GREY, COLOUR = (28, 28, 1), (64, 64, 3)


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write


def test_a_file_without_a_likelihood_means_bernoulli_for_all_images(write):
    spec = resolve(write("")).spec
    assert [spec.data.likelihood_of(shape) for shape in (GREY, COLOUR)] == ["bernoulli"] * 2


def test_files_that_vaetune_writes_choose_by_the_images(tmp_path):
    files = [path for name, path in built_in_searches().items() if not name.endswith("-0.1")]
    assert len(files) == 5
    for path in (*files, write_template("mine", folder=tmp_path)):
        data = resolve(path).spec.data
        assert data.likelihood == "auto", path
        assert data.likelihood_of(GREY) == "bernoulli"
        assert data.likelihood_of(COLOUR) == "gaussian"


def test_files_of_the_earlier_version_keep_their_meaning():
    earlier = [path for name, path in built_in_searches().items() if name.endswith("-0.1")]
    assert earlier
    assert {resolve(path).spec.data.likelihood for path in earlier} == {"bernoulli"}


def test_a_flag_overrides_the_file():
    spec = resolve(built_in_search("hyperband"), {"data.likelihood": "discretized_logistic"}).spec
    assert spec.settled(COLOUR).data.likelihood == "discretized_logistic"


def test_a_search_is_settled_by_its_images():
    spec = SearchSpec(data=DataSpec(likelihood="auto"))
    assert spec.settled(COLOUR).data.likelihood == "gaussian"
    assert spec.settled(GREY) == SearchSpec()


def test_an_unknown_likelihood_is_refused_with_the_known_ones(write):
    with pytest.raises(SpecError, match=r"likelihood.*bernoulli.*discretized_logistic"):
        resolve(write('[data]\nlikelihood = "normal"'))


def test_binarised_pixels_are_bernoulli(write):
    with pytest.raises(SpecError, match='is for grey pixels, but binarize = "threshold" makes'):
        resolve(write('[data]\nbinarize = "threshold"\nlikelihood = "gaussian"'))
    data = resolve(write('[data]\nbinarize = "threshold"\nlikelihood = "auto"')).spec.data
    assert data.likelihood_of(COLOUR) == "bernoulli"


def test_another_likelihood_is_another_experiment():
    ours = SearchSpec(data=DataSpec(likelihood="gaussian"))
    assert differences(ours, SearchSpec()) == ["data.likelihood: bernoulli -> gaussian"]


def test_a_journal_without_a_likelihood_is_the_bernoulli_experiment():
    written = SearchSpec().model_dump(mode="json", exclude_none=True)
    del written["data"]["likelihood"]
    assert SearchSpec.model_validate(written) == SearchSpec()
