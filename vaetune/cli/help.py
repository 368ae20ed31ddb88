"""Help texts in which the options of a command stand in groups."""

from functools import partial
from typing import Any

import typer
from typer.core import TyperCommand

OTHER = "Options"
"""Heading of the options that belong to no group."""

budget_option = partial(typer.Option, rich_help_panel="Budget")
training_option = partial(typer.Option, rich_help_panel="Training")
model_option = partial(typer.Option, rich_help_panel="Model")
workers_option = partial(typer.Option, rich_help_panel="Device and workers")
results_option = partial(typer.Option, rich_help_panel="Results")


class GroupedCommand(TyperCommand):
    """A command whose help groups its options by their `rich_help_panel`, as plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the arguments, then the options under the headings of their groups."""
        arguments: list[tuple[str, str]] = []
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if parameter.param_type_name == "argument":
                arguments.append(record)
            else:
                heading = getattr(parameter, "rich_help_panel", None) or OTHER
                groups.setdefault(heading, []).append(record)
        if arguments:
            groups = {"Arguments": arguments, **groups}
        if OTHER in groups and len(groups) > 1:
            groups[OTHER] = groups.pop(OTHER)  # --help comes last
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)
