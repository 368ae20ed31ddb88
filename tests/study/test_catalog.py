"""Studies and baselines in a results folder: how they are listed, found and compared."""

import json

import pytest
from journals import SPEC, make_study, write_baseline, write_search

from vaetune.config.names import BASELINES, BEST
from vaetune.config.space import REFERENCE
from vaetune.config.spec import Budget, Training
from vaetune.errors import JournalError, ResultsError
from vaetune.study.catalog import find_baseline, find_study, list_baselines, list_studies
from vaetune.study.journal import JOURNAL_NAME

# Finding studies


def test_the_most_recently_started_search_is_listed_first(tmp_path):
    write_search(tmp_path, "ant", minutes=5)
    write_search(tmp_path, "bee", minutes=9)
    write_search(tmp_path, "cat", minutes=1)
    assert [study.name for study in list_studies(tmp_path).studies] == ["bee", "ant", "cat"]
    assert find_study(tmp_path, None).name == "bee"
    assert find_study(tmp_path, "cat").name == "cat"


def test_baselines_and_exports_are_not_listed_as_searches(tmp_path):
    write_search(tmp_path, "tiny")
    write_search(tmp_path, BEST, minutes=1)
    write_search(tmp_path, BASELINES, minutes=1)
    write_baseline(tmp_path, minutes=1)
    assert [study.name for study in list_studies(tmp_path).studies] == ["tiny"]
    assert [study.name for study in list_baselines(tmp_path).studies] == ["reference"]


def test_folders_of_studies_that_never_began_are_ignored(tmp_path):
    write_search(tmp_path, "tiny")
    write_baseline(tmp_path)
    whole = (tmp_path / "tiny" / JOURNAL_NAME).read_bytes()
    for parent, name, content in (
        (tmp_path, "empty", b""),
        (tmp_path, "torn", whole[:50]),
        (tmp_path / BASELINES, "torn", whole[:50]),
    ):
        (parent / name).mkdir()
        (parent / name / JOURNAL_NAME).write_bytes(content)
    (tmp_path / "notes").mkdir()
    assert [study.name for study in list_studies(tmp_path).studies] == ["tiny"]
    assert [study.name for study in list_baselines(tmp_path).studies] == ["reference"]
    assert find_baseline(find_study(tmp_path, "tiny"), tmp_path).name == "reference"


def test_a_missing_search_is_reported_with_the_existing_ones(tmp_path):
    write_search(tmp_path, "ant")
    write_search(tmp_path, "bee", minutes=1)
    with pytest.raises(ResultsError, match=r'no search "cat" in .*There are: bee, ant\.'):
        find_study(tmp_path, "cat")
    with pytest.raises(ResultsError, match=r'no search "ants" .*\. Did you mean "ant"\? There'):
        find_study(tmp_path, "ants")


@pytest.mark.parametrize("name", [None, "tiny"])
def test_without_any_search_the_command_to_run_is_named(tmp_path, name):
    with pytest.raises(ResultsError, match=r"no search in .* yet.*`vaetune search hyperband`"):
        find_study(tmp_path / "results", name)


def damage(path):
    path.write_bytes(path.read_bytes() + b"{}\n")


@pytest.mark.parametrize("name", [None, "tiny"])
def test_a_damaged_journal_is_reported_and_not_skipped(tmp_path, name):
    damage(write_search(tmp_path, "tiny"))
    with pytest.raises(JournalError, match="line 3 is damaged"):
        find_study(tmp_path, name)


def test_an_unreadable_journal_is_reported(tmp_path):
    (tmp_path / "tiny" / JOURNAL_NAME).mkdir(parents=True)
    with pytest.raises(JournalError, match=r"journal\.jsonl cannot be read: Is a directory"):
        find_study(tmp_path, "tiny")


def test_a_damaged_journal_does_not_hide_other_searches_and_baselines(tmp_path):
    damage(write_search(tmp_path, "ant", minutes=1))
    write_search(tmp_path, "bee")
    damage(write_baseline(tmp_path, name="other", minutes=1))
    write_baseline(tmp_path)
    catalog = list_studies(tmp_path)
    assert [study.name for study in catalog.studies] == ["bee"]
    assert "line 3 is damaged" in catalog.unreadable["ant"]
    bee = find_study(tmp_path, None)
    assert bee.name == "bee"
    assert find_baseline(bee, tmp_path).name == "reference"


# Baselines


def test_the_keras_example_with_the_same_settings_is_the_baseline(tmp_path):
    write_baseline(tmp_path, loss=180.0)
    baseline = find_baseline(make_study(), tmp_path)
    assert baseline.name == "reference"
    assert baseline.winner.score == 180.0


def test_the_latest_of_several_baselines_is_used(tmp_path):
    write_baseline(tmp_path, "ant", minutes=2)
    write_baseline(tmp_path, "bee", minutes=1)
    assert find_baseline(make_study(), tmp_path).name == "ant"


@pytest.mark.parametrize(
    "other",
    [
        {"fingerprint": "cd" * 32},
        {"like": SPEC.model_copy(update={"budget": Budget(max_epochs=9)})},
        {"like": SPEC.model_copy(update={"training": Training(batch_size=64)})},
        {"like": SPEC.model_copy(update={"seed": 1})},
        {"values": REFERENCE | {"latent_dim": 8}},
    ],
    ids=["data", "epochs", "training", "seed", "configuration"],
)
def test_a_training_with_other_settings_is_not_the_baseline(tmp_path, other):
    write_baseline(tmp_path, **other)
    assert len(list_baselines(tmp_path).studies) == 1
    assert find_baseline(make_study(), tmp_path) is None


def test_a_training_with_patience_is_not_the_baseline(tmp_path):
    path = write_baseline(tmp_path)
    first, *rest = path.read_text().splitlines(keepends=True)
    started = json.loads(first)
    started["search"]["budget"]["patience"] = 2
    path.write_text("".join([json.dumps(started) + "\n", *rest]))
    assert list_baselines(tmp_path).studies[0].search.budget.patience == 2
    assert find_baseline(make_study(), tmp_path) is None


def test_the_schedule_of_a_search_does_not_change_its_baseline(tmp_path):
    write_baseline(tmp_path)
    budget = Budget(max_epochs=3, factor=2, hyperband_iterations=4)
    search = SPEC.model_copy(update={"budget": budget, "description": "more of it"})
    assert find_baseline(make_study(search=search), tmp_path).name == "reference"


def test_an_unfinished_training_is_not_the_baseline(tmp_path):
    path = write_baseline(tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    assert json.loads(lines[-2])["event"] == "trial_ended"
    path.write_text("".join(lines[:-2]))
    assert find_baseline(make_study(), tmp_path) is None
