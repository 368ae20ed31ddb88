"""Groups of options: how a command takes them, reads them and shows them in its help."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import Field, dataclass, fields, is_dataclass
from enum import Enum
from functools import partial, wraps
from typing import Any, get_args

import typer
from typer.core import TyperCommand

ARGUMENTS = "Arguments"

OTHER = "Options"
"""Heading of the options that belong to no group."""

MIN_GROUPS = 4
"""Number of groups from which a command's help has a heading for each; `OTHER` counts."""

budget_option = partial(typer.Option, rich_help_panel="Budget")
training_option = partial(typer.Option, rich_help_panel="Training")
model_option = partial(typer.Option, rich_help_panel="Model")
workers_option = partial(typer.Option, rich_help_panel="Device and workers")
results_option = partial(typer.Option, rich_help_panel="Results")


@dataclass(frozen=True)
class Overrides:
    """Marks an option that overrides a key of the search file.

    Attributes:
        key: The key with its section, such as "budget.max_epochs".
    """

    key: str


def flags_of(*groups: Any) -> dict[str, object]:
    """Returns the values of options by the key of the search file that they override.

    Args:
        groups: Groups of options. Options without `Overrides` are left out.
    """
    return {
        key: value.value if isinstance(value, Enum) else value
        for group in groups
        for option in fields(group)
        for key in _keys_of(option)
        for value in [getattr(group, option.name)]
    }


def _keys_of(option: "Field[Any]") -> Iterator[str]:
    return (mark.key for mark in get_args(option.type) if isinstance(mark, Overrides))


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Returns a command that takes every option of its groups as a parameter of its own.

    Typer makes an option of every parameter of a function. A parameter of `command` that is
    annotated with a dataclass of options is replaced by the fields of that dataclass.

    Raises:
        ValueError: Two options have the same name.
    """
    signature = inspect.signature(command)
    groups: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if is_dataclass(parameter.annotation)
    }

    @wraps(command)
    def expanded(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{option.name: given.pop(option.name) for option in fields(group)})
        command(**given)

    parameters = [
        option.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        for option in (_options_of(groups[name]) if name in groups else [parameter])
    ]
    # Typer reads both.
    expanded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {option.name: option.annotation for option in parameters}
    return expanded


def _options_of(group: Any) -> Iterable[inspect.Parameter]:
    return inspect.signature(group).parameters.values()


class GroupedCommand(TyperCommand):
    """A command whose help shows its options in groups, as plain text.

    The group of an option is its `rich_help_panel`. A command with few groups has one list.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the arguments, then the options under the headings of their groups."""
        found = [
            (_heading_of(parameter), record)
            for parameter in self.get_params(ctx)
            if (record := parameter.get_help_record(ctx)) is not None
        ]
        has_groups = len({heading for heading, _ in found} - {ARGUMENTS}) >= MIN_GROUPS
        sections: dict[str, list[tuple[str, str]]] = {ARGUMENTS: []}
        for heading, record in found:
            key = heading if has_groups or heading == ARGUMENTS else OTHER
            sections.setdefault(key, []).append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def _heading_of(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return ARGUMENTS
    return getattr(parameter, "rich_help_panel", None) or OTHER
