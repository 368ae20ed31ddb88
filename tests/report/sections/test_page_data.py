"""The data of the charts: a study in columns that JSON can represent."""

import json
import math
from dataclasses import asdict

import pytest
from journals import SPEC, JournalBuilder
from stories import VALUES, SearchBuilder, make_finished_search, make_keras_example

from vaetune.config.space import Choice, Range, Space
from vaetune.config.spec import SearchSpec
from vaetune.report.sections.page_data import compute_records


def column(records, key):
    (found,) = [one for one in records.columns if one.key == key]
    return found


def test_every_column_has_a_value_for_each_trial(tmp_path):
    records = compute_records(make_finished_search(tmp_path / "tiny").study(), None)
    assert records.trials == ("0000", "0001", "0002", "0003")
    assert records.parents == (None, None, None, "0001")
    assert {len(one.values) for one in records.columns} == {4}
    assert len({one.key for one in records.columns}) == len(records.columns)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("rank", (3, 2, 4, 1)),
        ("loss", (212.5, 201.0, 230.0, 131.25)),
        ("kl", (6.0, 6.0, 6.0, 6.0)),
        ("epochs", (1, 1, 1, 3)),
        ("seconds", (60.0, 60.0, 60.0, 120.0)),
        ("total_s", (60.0, 60.0, 60.0, 180.0)),
        ("configuration", (0, 1, 2, 1)),
        ("best_s", (60.0, 120.0, 180.0, 300.0)),
        ("best_after", (1, 2, 3, 5)),
        ("dense_units", (16, 32, 48, 32)),
    ],
)
def test_numbers_are_those_of_the_journal(tmp_path, key, values):
    assert (
        column(compute_records(make_finished_search(tmp_path / "tiny").study(), None), key).values
        == values
    )


def test_the_scale_of_an_axis_follows_its_dimension(tmp_path):
    space = Space(
        filters_1=Range(min=8, max=64),
        latent_dim=Choice(values=(2, 4)),
        learning_rate=Range(min=1e-4, max=1e-2, scale="log"),
    )
    story = SearchBuilder(tmp_path / "tiny", spec=SearchSpec(space=space)).trial("0000", [3.0])
    records = compute_records(story.study(), None)
    scales = {one.key: one.scale for one in records.columns}
    assert scales["filters_1"] == "linear"
    assert scales["latent_dim"] == "choice"
    assert scales["learning_rate"] == "log"
    assert scales["loss"] == "excess"


def test_a_column_with_a_zero_has_no_logarithmic_axis(tmp_path):
    story = SearchBuilder(tmp_path / "tiny").trial("0000", [], error="no room").trial("0001", [3.0])
    assert column(compute_records(story.study(), None), "seconds").scale == "linear"


def test_only_hyperparameters_with_several_values_differ(tmp_path):
    records = compute_records(make_finished_search(tmp_path / "tiny").study(), None)
    names = {one.key for one in records.columns if one.kind == "hyperparameter" and one.differs}
    assert names == {"dense_units"}
    assert set(VALUES) <= {one.key for one in records.columns}


@pytest.mark.parametrize(
    ("levels", "title"), [(1, "Active units"), (2, "Active units of all levels")]
)
def test_the_title_of_active_units_mentions_several_levels(tmp_path, levels, title):
    values = VALUES | {"levels": levels}
    story = SearchBuilder(tmp_path / "tiny").trial(
        "0000", [3.0], hyperparameters=values, active_units=5
    )
    found = column(compute_records(story.study(), None), "active_units")
    assert (found.title, found.values) == (title, (5,))


def test_losses_that_are_not_finite_are_gaps(tmp_path):
    story = SearchBuilder(tmp_path / "tiny", spec=SPEC).trial(
        "0000", [3.0, math.nan, math.inf], error="NaN"
    )
    records = compute_records(story.study(), None)
    assert records.curves.val == ((3.0, None, None),)
    assert records.errors == {"0000": "NaN"}
    json.dumps(asdict(records), allow_nan=False)


def test_small_numbers_keep_their_digits(tmp_path):
    values = {**VALUES, "learning_rate": 0.000123456789}
    story = SearchBuilder(tmp_path / "tiny").trial("0000", [3.0], hyperparameters=values)
    kept = column(compute_records(story.study(), None), "learning_rate").values
    assert kept == pytest.approx((0.000123456789,), rel=1e-6)


def test_the_reference_is_shown_with_its_curve(tmp_path):
    shown = compute_records(
        make_finished_search(tmp_path / "tiny").study(), make_keras_example(tmp_path).study()
    ).reference
    assert shown is not None
    assert (shown.loss, shown.latent_dim, shown.total_s) == (177.25, 2, 180.0)
    assert shown.epochs == (1, 2, 3)
    assert shown.val == (220.0, 190.0, 177.25)


def test_the_command_for_a_trial_ends_with_its_id(tmp_path):
    records = compute_records(make_finished_search(tmp_path / "tiny").study(), None)
    assert records.export == f"vaetune best tiny --export --results {tmp_path} --trial"


# Workers


def shared_search():
    """Two workers. Worker 1 is lost, and its trial continues on worker 2."""
    builder = (
        JournalBuilder(2).begin(10, "0000", 1).begin(10, "0001", 2).lose(30, 1, "0000", "killed")
    )
    builder.join(34, 1, "node8", device="GPU (a card)").finish(40, "0001")
    return builder.resume(42, "0000", 2).begin(44, "0002", 1).finish(60, "0000").finish(70, "0002")


def test_a_search_without_workers_has_no_worker_columns(tmp_path):
    records = compute_records(make_finished_search(tmp_path / "tiny").study(), None)
    assert records.workers is None
    assert "worker" not in {one.key for one in records.columns}


def test_a_column_has_the_last_worker_of_each_trial():
    records = compute_records(shared_search().study(), None)
    assert column(records, "worker").values == (2, 2, 1)
    assert column(records, "start_s").values == (10.0, 10.0, 44.0)
    assert column(records, "end_s").values == (60.0, 40.0, 70.0)


def test_bars_have_the_worker_trial_device_and_times():
    workers = compute_records(shared_search().study(), None).workers
    assert workers.places == ("CPU on node7, 2 threads", "GPU (a card) on node8, 2 threads")
    bars = workers.bars
    columns = (bars.trials, bars.lanes, bars.places, bars.start_s, bars.end_s)
    assert list(zip(*columns, strict=True)) == [
        (0, 0, 0, 10.0, 30.0),
        (0, 1, 0, 42.0, 60.0),
        (1, 1, 0, 10.0, 40.0),
        (2, 0, 1, 44.0, 70.0),
    ]
    assert [(lost.lane, lost.at_s, lost.title) for lost in workers.lost_workers] == [
        (0, 30.0, "worker 1 was lost: killed")
    ]


def test_titles_of_lanes_have_devices_and_utilisation():
    workers = compute_records(shared_search().study(), None).workers
    assert [
        (lane.label, lane.title.replace("\N{NO-BREAK SPACE}", " ")) for lane in workers.lanes
    ] == [
        (
            "1",
            "worker 1; CPU on node7, 2 threads; GPU (a card) on node8, 2 threads; "
            "trained for 77 % of its time",
        ),
        ("2", "worker 2; CPU on node7, 2 threads; trained for 80 % of its time"),
    ]
    assert workers.note.startswith("2 workers trained for 78")


def test_kinds_are_listed_only_if_workers_differ():
    assert compute_records(JournalBuilder(2).begin(1, "0000", 1).study(), None).workers.kinds == ()
    assert compute_records(shared_search().study(), None).workers.kinds == (
        "worker 1: CPU on node7, 2 threads, then GPU (a card) on node8, 2 threads",
        "worker 2: CPU on node7, 2 threads",
    )


def test_the_keras_example_on_a_worker_is_shown_and_counts_as_training():
    example = (
        JournalBuilder(2, kind="baseline").begin(5, "0000", 1).finish(60, "0000").end(60).study()
    )
    study = JournalBuilder(2).begin(10, "0000", 2).finish(60, "0000").study()
    workers = compute_records(study, example).workers
    assert [(one.lane, one.start_s, one.end_s) for one in workers.reference_bars] == [
        (0, 5.0, 60.0)
    ]
    assert workers.note.startswith("2 workers trained for 100")
