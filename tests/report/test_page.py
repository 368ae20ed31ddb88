"""The page explains its numbers, loads no external resources and escapes all texts."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from stories import (
    ParsedPage,
    make_finished_search,
    make_keras_example,
    make_search_with_markup,
    page_of,
    words_of,
)


@pytest.mark.usefixtures("without_charts")
def test_the_page_explains_its_numbers(tmp_path):
    words = words_of(
        page_of(make_finished_search(tmp_path / "tiny"), baseline=make_keras_example(tmp_path))
    )
    assert "one posterior sample" in words
    assert "12 validation images" in words
    assert "All original images on this page are validation images" in words
    assert "entropy floor, 45.5 nats" in words
    assert "Pixels as they are: not comparable with likelihoods of binarised images." in words


@pytest.mark.usefixtures("without_charts")
def test_the_page_has_the_export_command():
    page = page_of(make_finished_search(Path("results/tiny")))
    assert "<code>vaetune best tiny --export</code>" in page


@pytest.mark.usefixtures("without_charts")
def test_commands_name_a_different_results_folder(tmp_path):
    words = words_of(page_of(make_finished_search(tmp_path / "it's" / "tiny")))
    quoted = "'" + str(tmp_path / "it's").replace("'", "'\"'\"'") + "'"
    assert f"vaetune best tiny --export --results {quoted}" in words


def test_the_page_links_to_each_search(tmp_path):
    page = page_of(
        make_finished_search(tmp_path / "late"), make_finished_search(tmp_path / "early")
    )
    outline = ParsedPage(page)
    links = [href for href in outline.values("href") if href.startswith("#")]
    assert {"#search-1", "#search-2"} <= set(links)
    assert [i for i in outline.values("id") if re.fullmatch(r"search-\d", i)] == [
        "search-1",
        "search-2",
    ]
    assert len(outline.values("id")) == len(set(outline.values("id")))


def test_the_page_is_the_same_for_the_same_journals(tmp_path):
    make_finished_search(tmp_path / "tiny").write()
    stories = make_finished_search(tmp_path / "tiny"), make_keras_example(tmp_path)
    assert page_of(stories[0], baseline=stories[1]) == page_of(stories[0], baseline=stories[1])


def test_the_page_loads_no_external_resources(tmp_path):
    make_finished_search(tmp_path / "tiny").write()
    outline = ParsedPage(
        page_of(make_finished_search(tmp_path / "tiny"), baseline=make_keras_example(tmp_path))
    )
    assert all(href.startswith("#") or href == "data:," for href in outline.values("href"))
    assert all(src.startswith("data:image/png;base64,") for src in outline.values("src"))
    assert not {tag for tag, _ in outline.elements} & {"iframe", "object", "embed", "base"}
    assert not outline.values("style")


@pytest.mark.usefixtures("without_charts")
def test_the_security_policy_allows_the_style_and_script_of_the_page_by_hash(tmp_path):
    page = page_of(make_finished_search(tmp_path / "tiny"))
    (policy,) = [
        attrs["content"]
        for _, attrs in ParsedPage(page).elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


ATTACKS = [
    "</script><script>hacked = 1</script>",
    "</style><img src=x onerror=hacked=1>",
    '" onmouseover="hacked=1',
    "' autofocus onfocus='hacked=1",
    "--><svg onload=hacked=1>",
    "</title></pre></textarea><iframe src=//x>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;&#60;b&#62;",
    "\x00\x0b\x1b[31m\x7f\u2028\u2029\u202e\ufffe",
    "]]><![CDATA[<b>",
    "$\\frac{1}{0}$ _^%#",
]


@pytest.fixture(scope="module")
def hostile_folder(tmp_path_factory):
    """A folder of a search with pictures, for the pages of hostile searches."""
    folder = tmp_path_factory.mktemp("results") / "stage"
    make_finished_search(folder).write()
    return folder


@pytest.fixture(scope="module")
def plain_page(hostile_folder):
    """A page without special characters in its texts, and its outline."""
    page = page_of(make_search_with_markup(hostile_folder, "x"))
    return page, ParsedPage(page)


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(st.text(), min_size=1, max_size=3))
@example(parts=ATTACKS)
@example(parts=ATTACKS[::-1])
def test_texts_from_files_cannot_change_the_structure_of_the_page(
    hostile_folder, plain_page, parts
):
    page = page_of(make_search_with_markup(hostile_folder, "x" + "".join(parts)))
    outline, (expected_page, expected) = ParsedPage(page), plain_page
    assert outline.structure == expected.structure
    assert outline.drawn <= expected.drawn
    assert {href.partition("-")[0] for href in outline.values("href")} == {"#search", "data:,"}
    assert outline.values("src") == expected.values("src")
    assert scripts_of(page) == scripts_of(expected_page)
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202e]", page)
    data = re.findall(r'<script type="application/json"(.*?)</script>', page, flags=re.DOTALL)
    assert data
    assert not re.search(r"(?<!\\)(\\\\)*\\u(202[a-e]|000[0-8])", "".join(data))


def scripts_of(page):
    """Scripts that a browser runs, number of data elements, number of script elements."""
    scripts = re.findall(r"<script(.*?)>(.*?)</script>", page, flags=re.DOTALL)
    data = [json.loads(text) for kind, text in scripts if "application/json" in kind]
    return [text for kind, text in scripts if not kind], len(data), len(scripts)


@pytest.mark.usefixtures("without_charts")
def test_special_characters_in_texts_are_shown_unchanged(hostile_folder):
    page = page_of(make_search_with_markup(hostile_folder, "</script><b>&amp; 'quoted' \"twice\""))
    assert words_of(page).count("</script><b>&amp; 'quoted' \"twice\"") >= 10
    assert "<b>&amp;amp;" not in page


@pytest.mark.usefixtures("without_charts")
def test_a_folder_name_that_is_not_unicode_does_not_break_the_page():
    page = page_of(make_finished_search(Path("results-\udcff") / "tiny"))
    assert "--results 'results-\ufffd'" in words_of(page)
    page.encode()
