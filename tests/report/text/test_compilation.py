"""Descriptions of the programs that a search will compile."""

import pytest

from vaetune.config.compilation import Compilation
from vaetune.report.text.compilation import describe_compilation, describe_programs


@pytest.mark.parametrize(
    ("compilation", "note", "sentence"),
    [
        (
            Compilation(6),
            "up to 6 programs, compiled once",
            "Compiled training steps: at most 6 programs, one for each structure and batch size.",
        ),
        (
            Compilation(1),
            "1 program, compiled once",
            "Compiled training steps: 1 program.",
        ),
        (
            Compilation(12),
            "up to 8 programs, compiled once",
            "Compiled training steps: at most 8 of 12 programs; the other structures train "
            "uncompiled.",
        ),
        (
            Compilation(0, "only on a GPU"),
            "only on a GPU",
            "Compiled training steps: only on a GPU.",
        ),
        (
            Compilation(0, "not compiled: too few steps to repay it"),
            "not compiled: too few steps to repay it",
            "Compiled training steps: none, too few steps to repay it.",
        ),
        (Compilation(0), "", ""),
    ],
)
def test_compiled_programs_and_their_limit_are_described(compilation, note, sentence):
    assert describe_compilation(compilation) == note
    assert describe_programs(compilation) == sentence
