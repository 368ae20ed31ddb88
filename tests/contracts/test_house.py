"""Layout and language stay within limits; `python benchmarks/house.py` prints the numbers."""

import statistics
from pathlib import Path

import house
import pytest

TOP = Path(house.__file__).parents[1]


def test_the_top_level_has_few_packages_and_few_imports_between_them():
    assert len(house.top_names()) <= 16
    assert len(house.arrows()) <= 60


def test_no_module_is_longer_than_350_lines():
    assert house.long_modules() == []
    assert house.long_modules(limit=10), "the check finds modules"


def test_functions_are_short_and_take_few_parameters():
    found = house.functions()
    lines = sorted(one.lines for one in found)
    assert [one.place for one in found if one.lines > 40] == []
    assert statistics.median(lines) <= 5
    assert lines[len(lines) * 9 // 10] <= 17
    assert [one.place for one in found if one.parameters > 10] == []


def test_arguments_are_described_by_noun_phrases():
    assert house.genitives() == []
    assert house.GENITIVE.search("    seed: Of the search."), "the check finds genitives"


@pytest.mark.parametrize("folder", ["vaetune", "tests", "benchmarks", "docs/_ext"])
def test_names_docstrings_and_comments_use_the_words_of_the_field(folder):
    assert house.old_words(TOP / folder) == []
    assert house.OLD_WORDS.search("The page is written anew."), "the check finds old words"


def test_the_readme_is_short():
    assert len((TOP / "README.md").read_text(encoding="utf-8").splitlines()) < 200
