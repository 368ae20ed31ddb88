"""Groups of options: help texts, and the values that commands receive."""

import re
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from vaetune.cli import groups, options
from vaetune.cli.app import app
from vaetune.config.spec import SearchSpec

COMMANDS = sorted(command.callback.__name__ for command in app.registered_commands)


def help_of(*arguments):
    """The help text of a command, 80 columns wide; without arguments, of vaetune."""
    result = CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    return result.output


# Help


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_no_line_of_help_is_cut_off_or_wider_than_the_terminal(command):
    text = help_of(*command.split())
    assert "..." not in text
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_plain_text(command):
    text = help_of(*command.split())
    assert text.isascii()
    assert "\x1b" not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_and_argument_has_a_help_sentence(command):
    parameters = typer.main.get_command(app).commands[command].params
    assert parameters
    shown = " ".join(help_of(command).split())
    for parameter in parameters:
        assert re.fullmatch(r"[A-Z]\S* .+\.", parameter.help), f"{parameter.name}: {parameter.help}"
        assert parameter.help in shown


@pytest.mark.parametrize("command", ["search", "check", "train"])
def test_options_of_long_commands_are_in_groups(command):
    headings = re.findall(r"^(\S.*):$", help_of(command), re.MULTILINE)
    assert {"Training", "Device and workers"} <= set(headings)
    assert len(headings) >= 4
    assert headings[-1] == "Options", "--help comes last"
    assert len(set(headings)) == len(headings)


@pytest.mark.parametrize("command", ["new", "best", "evaluate", "trials", "report"])
def test_options_of_short_commands_are_in_one_list(command):
    headings = re.findall(r"^(\S.*):$", help_of(command), re.MULTILINE)
    assert [heading for heading in headings if heading != "Arguments"] == ["Options"]


# Values that a command receives


class Colour(StrEnum):
    red = "red"


@dataclass(frozen=True)
class Paint:
    """Options of a paint."""

    colour: Annotated[Colour | None, groups.Overrides("paint.colour"), typer.Option()] = None
    coats: Annotated[int, groups.Overrides("coats"), typer.Option(min=1)] = 2
    thinner: Annotated[bool, typer.Option("--thinner")] = False


@dataclass(frozen=True)
class GlossyPaint(Paint):
    """Options of a glossy paint."""

    gloss: Annotated[float | None, typer.Option()] = None


@pytest.fixture
def paint():
    """A function that runs a command with a group of options.

    It returns the exit status and, if the command ran, the name and the options it received.
    """
    received = []
    paints = typer.Typer()

    def command(*, name: Annotated[str, typer.Argument()], paint: GlossyPaint) -> None:
        received.append((name, paint))

    paints.command()(groups.expand_groups(command))

    def run(*arguments):
        received.clear()
        return CliRunner().invoke(paints, arguments).exit_code, *received

    return run


def test_a_command_receives_its_groups_with_the_given_values(paint):
    assert paint("wall") == (0, ("wall", GlossyPaint()))
    given = ("wall", "--colour", "red", "--thinner", "--gloss", 0.5)
    assert paint(*map(str, given)) == (0, ("wall", GlossyPaint(Colour.red, 2, True, 0.5)))
    assert paint("wall", "--coats", "0") == (2,), "an option keeps its limits"
    assert paint("wall", "--paint", "red") == (2,), "the group itself is not an option"


def test_two_options_with_the_same_name_are_refused():
    def command(*, coats: int, paint: Paint) -> None:
        """Never runs."""

    with pytest.raises(ValueError, match="coats"):
        groups.expand_groups(command)


def test_flags_of_returns_values_by_key_of_the_search_file():
    assert groups.flags_of(Paint(Colour.red, thinner=True)) == {"paint.colour": "red", "coats": 2}
    assert groups.flags_of(Paint()) == {"paint.colour": None, "coats": 2}
    flags = groups.flags_of(options.BudgetOptions(max_epochs=3), options.WinnerOptions())
    assert flags["budget.max_epochs"] == 3
    assert {key for key, value in flags.items() if value is not None} == {"budget.max_epochs"}
    assert type(groups.flags_of(Paint(Colour.red))["paint.colour"]) is str


def test_every_key_that_an_option_overrides_exists_in_the_search_file():
    option_groups = [value for name, value in vars(options).items() if name.endswith("Options")]
    keys = {
        mark.key
        for group in option_groups
        for option in fields(group)
        for mark in option.type.__metadata__
        if isinstance(mark, groups.Overrides)
    }
    assert len(keys) > 15
    for key in keys:
        *sections, name = key.split(".")
        model = SearchSpec
        for section in sections:
            model = model.model_fields[section].annotation
        assert name in model.model_fields, key
