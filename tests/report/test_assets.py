"""Scripts, styles and JSON data of the page: their files, checksums and escaping."""

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import vaetune.report
from vaetune.report import assets

FOLDER = Path(vaetune.report.__file__).parent
D3 = FOLDER / "d3"


def test_the_d3_files_have_the_checksums_of_their_readme():
    listed = dict(
        re.findall(r"\| (d3-[\w-]+) \| [\d.]+ \| ([0-9a-f]{64}) \|", (D3 / "README.md").read_text())
    )
    found = {
        file.name.removesuffix(".min.js"): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in D3.glob("*.js")
    }
    assert found == listed


def test_the_script_contains_each_file_once():
    script = assets.read_script(live=False)
    files = [*D3.glob("*.js"), *(FOLDER / "js").glob("*.js")]
    assert len(files) > 25
    for file in files:
        assert script.count(file.read_text()) == 1, file.name


def test_scripts_and_styles_cannot_end_their_element():
    assert not re.search(r"</script|<!--", assets.read_script(live=True), re.IGNORECASE)
    assert "</style" not in assets.read_style().lower()


def test_the_script_parses_no_text_as_markup_or_code():
    source = "".join(
        file.read_text() for file in [*(FOLDER / "js").glob("*.js"), FOLDER / "live.js"]
    )
    for unsafe_name in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert unsafe_name not in source, unsafe_name


class Scripts(HTMLParser):
    """The texts of script elements, and the tags of all other elements."""

    def __init__(self, page):
        super().__init__()
        self.scripts, self.others = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        (self.scripts if tag == "script" else self.others).append("" if tag == "script" else tag)

    def handle_data(self, data):
        if self.scripts:
            self.scripts[-1] += data


@given(st.text() | st.sampled_from(["</script>", "<!--<script>", "]]>", "\u2028", "&lt;/script>"]))
def test_data_stay_within_their_element_and_are_read_back_unchanged(text):
    page = f'<script type="application/json">{assets.to_json({text: [text, None]})}</script>'
    parsed = Scripts(page)
    assert parsed.others == []
    assert [json.loads(script) for script in parsed.scripts] == [{text: [text, None]}]


def test_nan_is_refused_in_json():
    with pytest.raises(ValueError, match="JSON"):
        assets.to_json([float("nan")])
