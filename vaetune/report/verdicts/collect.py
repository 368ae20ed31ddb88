"""Collects the verdicts about a search, the most important first."""

import shlex

from vaetune.report.analysis.budgets import compare_at_equal_budget
from vaetune.report.verdicts.edges import judge_edges
from vaetune.report.verdicts.health import judge_copies, judge_failures
from vaetune.report.verdicts.latents import judge_collapse, judge_inactive
from vaetune.report.verdicts.lead import judge_lead
from vaetune.report.verdicts.training import judge_epochs
from vaetune.report.verdicts.verdict import Kind, Verdict
from vaetune.study import Study

HINTS = 3
"""Number of verdicts that a terminal shows."""

_WIDENING: frozenset[Kind] = frozenset({"epochs", "edge"})
"""Verdicts with lines that leave the winner in the space."""

_PLAIN = str.maketrans(
    {
        "\N{MINUS SIGN}": "-",
        "\N{PLUS-MINUS SIGN}": "+-",
        "\N{NO-BREAK SPACE}": " ",
        "\N{HORIZONTAL ELLIPSIS}": "...",
    }
)
"""Replacements of characters that some terminals cannot show."""


def compute_verdicts(study: Study) -> tuple[Verdict, ...]:
    """Says what could be better about a search, from its journal alone.

    Before a search is complete, only what further trials do not change is said.

    Args:
        study: Search or baseline to describe.
    """
    found = [judge_failures(study), judge_copies(study), judge_collapse(study)]
    if study.is_complete and study.winner is not None:
        budget = compare_at_equal_budget(study)
        found += [
            judge_epochs(study),
            judge_edges(study, budget),
            judge_inactive(study),
            judge_lead(study),
        ]
    return tuple(verdict for verdict in found if verdict)


def describe_verdicts(study: Study, verdicts: tuple[Verdict, ...]) -> str:
    """A sentence below the verdicts: how to use their lines, or that there is nothing to say.

    Args:
        study: Search to describe.
        verdicts: Its verdicts.
    """
    later = (
        "Epochs, the edges of the space, latent dimensions and the winner's lead are checked once "
        "the search is complete."
    )
    if not verdicts and study.is_complete:
        return (
            "Nothing stands out. Failures, copies in the data, collapse, epochs, the edges of the "
            "space, inactive latent dimensions and the winner's lead were checked, as far as the "
            "journal knows them."
        )
    if not study.is_complete:
        return later if verdicts else f"Nothing stands out so far. {later}"
    changing = {verdict.kind for verdict in verdicts if verdict.lines} - {"lead"}
    if not changing:
        return ""
    begin = ""
    if changing <= _WIDENING:
        winner = shlex.quote(f"best:{study.name}")
        begin = f", and `--start-with {winner}` tries this winner first"
    return (
        "Replace these lines in a copy of the search file, or add them: a search with other values "
        f"needs another name. `vaetune new NAME` writes a file to begin with{begin}."
    )


def describe_hints(study: Study) -> str:
    """The first verdicts for a terminal, one per line; empty without any.

    Args:
        study: Search to describe.
    """
    lines = []
    for verdict in compute_verdicts(study)[:HINTS]:
        settings = [line for line in verdict.lines.splitlines() if not line.startswith("[")]
        remedy = f"Try {', '.join(settings)}." if settings else verdict.advice
        lines.append(f"Hint: {verdict.seen} {remedy}")
    return "\n".join(lines).translate(_PLAIN)
