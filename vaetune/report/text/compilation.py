"""Describes which training steps of a search are compiled."""

from vaetune.config import MAX_PROGRAMS, Compilation
from vaetune.report.text.units import counted

COMPILES = "compiles training steps, once for all trials of its structure"
"""Words about a trial that comes before its first epoch."""


def describe_compilation(compilation: Compilation) -> str:
    """A note on `training.compile`, such as "up to 6 programs, compiled once"."""
    most = min(compilation.programs, MAX_PROGRAMS)
    if not most:
        return compilation.reason
    return f"{'up to ' * (most > 1)}{counted(most, 'program')}, compiled once"


def describe_programs(compilation: Compilation) -> str:
    """A sentence on the compiled programs of a search; empty if the search asks for none."""
    programs, reason = compilation.programs, compilation.reason
    if programs > MAX_PROGRAMS:
        return (
            f"Compiled training steps: at most {MAX_PROGRAMS} of {programs} programs; the other "
            "structures train uncompiled."
        )
    if programs > 1:
        most = f"at most {programs} programs, one for each structure and batch size"
    elif programs == 1:
        most = "1 program"
    else:
        most = reason.replace("not compiled:", "none,")
    return most and f"Compiled training steps: {most}."
