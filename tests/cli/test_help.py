"""Help stands alone: no line is cut off, every option has a sentence, long commands have groups."""

import re

import pytest
from typer.testing import CliRunner

from vaetune.cli.app import app

COMMANDS = sorted(command.callback.__name__ for command in app.registered_commands)


def help_of(*arguments):
    found = CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "80"})
    assert found.exit_code == 0
    return found.output


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_no_line_is_cut_off_or_wider_than_the_terminal(command):
    text = help_of(*command.split())
    assert "..." not in text.replace("[OPTIONS] COMMAND [ARGS]...", "")
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_sentence(command):
    text = re.sub(r"\s*\[(?:default: )?[^\]]*\](?=\s|$)", "", help_of(command))
    entries = re.split(
        r"\n  (?=-|\w+ <)", text.replace("-h, --help", "--help").replace("-q, --quiet", "--quiet")
    )[1:]
    assert entries
    for entry in entries:
        sentence = entry.split("\n\n")[0].rstrip()
        assert sentence.endswith("."), sentence
        names = r"^(-\S+|\w+)(, -\S+| / \S+)*( <[^>]*>)?\s+"
        words = re.sub(names, "", " ".join(sentence.split()))
        assert len(words.split()) >= 2, sentence
        assert words[0].isupper() or words.startswith("HOST"), words


@pytest.mark.parametrize("command", ["search", "check", "train"])
def test_options_of_long_commands_stand_in_groups(command):
    headings = re.findall(r"^(\S.*):$", help_of(command), re.MULTILINE)
    assert {"Training", "Device and workers"} <= set(headings)
    assert len(headings) >= 4
    assert headings[-1] == "Options", "--help comes last"
