"""Commands to run next, or Python calls if a command cannot load the images."""

import pytest
from journals import make_study, make_trial_events

from vaetune.study.commands import command, continue_command, evaluate_command


def study_of(source):
    """A study of two completed trials. The first one is the winner."""
    events = [*make_trial_events("0000", [180.0]), *make_trial_events("0001", [190.0])]
    return make_study(*events, source=source)


def test_a_command_names_a_results_folder_that_is_not_the_default(tmp_path):
    assert command("best", make_study(), "--export") == "vaetune best tiny --export"
    moved = make_study(folder=tmp_path / "of mine" / "tiny")
    assert command("best", moved) == f"vaetune best tiny --results '{tmp_path}/of mine'"


@pytest.mark.parametrize(
    ("source", "again", "evaluation", "other"),
    [
        (
            "digits",
            "vaetune search tiny --overwrite",
            "vaetune evaluate tiny",
            "vaetune evaluate tiny --trial 0001",
        ),
        (
            "arrays",
            "vaetune.run_search(search, images, 'results', name='tiny', overwrite=True)",
            "vaetune.evaluate_trial(vaetune.load_study('results/tiny'), images=images)",
            "vaetune.evaluate_trial(vaetune.load_study('results/tiny'), '0001', images=images)",
        ),
    ],
)
def test_next_steps_are_commands_for_a_dataset_and_python_calls_for_arrays(
    source, again, evaluation, other
):
    study = study_of(source)
    assert continue_command(study, overwrite=True) == again
    assert evaluate_command(study) == evaluation
    assert evaluate_command(study, study.winner) == evaluation
    assert evaluate_command(study, study.trial("0001")) == other
