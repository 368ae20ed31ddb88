"""A search starts with the best configurations of earlier searches, and keeps them."""

import shutil

import pytest
from journals import (
    VALUES,
    make_session,
    make_session_end,
    make_started,
    make_trial_events,
    write_baseline,
    write_journal,
    write_search,
)
from tiny_searches import DEVICE, GRID, IMAGES, changed, run, stop

from vaetune.config.search_file import ResolvedSearch
from vaetune.config.space import EARLIER_SPACE
from vaetune.config.spec import Budget, SearchSpec, Training
from vaetune.errors import ResultsError, SpecError
from vaetune.search.session import open_search
from vaetune.search.starting_points import resolve_with_starting_points
from vaetune.study.builder import load_study

EARLIER = SearchSpec(
    space=EARLIER_SPACE, budget=Budget(max_epochs=3), training=Training(batch_size=64)
)


@pytest.fixture
def results(tmp_path):
    """Results with the search "earlier": its configurations 1, 2 and 0, the best one first."""
    write_search(
        tmp_path,
        "earlier",
        *make_trial_events("0000", [190.0], hyperparameters=VALUES | {"latent_dim": 4}),
        *make_trial_events("0001", [150.0], configuration=1),
        *make_trial_events(
            "0002", [170.0], configuration=2, hyperparameters=VALUES | {"latent_dim": 2}
        ),
        *make_trial_events("0003", [140.0], configuration=1, parent="0001", rung=1, epoch_from=1),
        make_session_end(),
        search=EARLIER,
    )
    return tmp_path


@pytest.fixture
def resolve(results):
    """Resolves a search over the earlier space with starting points of other searches."""
    path = results / "later.toml"
    path.write_text("[training]\nbatch_size = 64\n")

    def resolve_from(*references, text=None, **options):
        if text is not None:
            path.write_text(text)
        return resolve_with_starting_points(path, {}, references, results, **options)

    return resolve_from


def test_the_best_configuration_of_an_earlier_search_is_a_starting_point(resolve):
    resolved, notes = resolve("best:earlier")
    assert resolved.spec.start_with == (VALUES,)
    assert resolved.start_from == ("best:earlier",)
    assert resolved.origins["start_with"] == "flag"
    assert notes == ()


def test_the_best_configurations_are_distinct_and_sorted_by_loss(resolve):
    points = resolve("best:earlier:3")[0].spec.start_with
    assert [point["latent_dim"] for point in points] == [8, 2, 4]


def test_sources_keep_their_order_and_repeated_configurations_are_left_out(resolve, results):
    write_baseline(results, "alone", like=EARLIER, values=VALUES | {"latent_dim": 32})
    resolved, notes = resolve(
        "best:baselines/alone", f"best:{results / 'earlier'}:2", "best:earlier"
    )
    assert [point["latent_dim"] for point in resolved.spec.start_with] == [32, 8, 2]
    assert notes == ("best:earlier: trial 0003 repeats a starting point, so it is left out.",)


NARROW = """
[space]
latent_dim = { values = [8, 16] }
learning_rate = { min = 1e-3, max = 1e-2 }
filters_1 = { value = 16 }
filters_2 = { value = 128 }
dense_units = { value = 64 }
"""


def test_values_outside_the_space_are_reported_with_the_values_of_the_space(resolve):
    resolved, notes = resolve("best:earlier:2", text=f"{NARROW}[training]\nbatch_size = 32\n")
    rate = VALUES["learning_rate"]
    assert resolved.spec.start_with == (
        {"latent_dim": 8, "learning_rate": rate},
        {"learning_rate": rate},
    )
    assert notes == (
        "best:earlier:2: these values of trial 0003 are not in this space, so the search has its "
        "own: batch_size 64 (here 32).",
        "best:earlier:2: these values of trial 0002 are not in this space, so the search has its "
        "own: latent_dim 2 (here 8, 16), batch_size 64 (here 32).",
    )


def test_the_batch_size_of_the_earlier_search_may_be_searched_here(resolve):
    points = resolve("best:earlier", text=f"{NARROW}batch_size = {{ values = [64, 128] }}\n")
    assert points[0].spec.start_with[0]["batch_size"] == 64


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("earlier", SpecError, "expects best:NAME or best:NAME:COUNT, received 'earlier'. Write"),
        ("best:", SpecError, "expects best:NAME or best:NAME:COUNT"),
        ("best:earlier:0", ResultsError, 'There is no search "earlier:0"'),
        ("best:gone", ResultsError, 'There is no search "gone"'),
        ("best:running", ResultsError, '"running" has no completed trial yet'),
        (
            "best:earlier:4",
            ResultsError,
            'expects 4 configurations, but "earlier" has completed only 3. Write --start-with '
            "best:earlier:3.",
        ),
    ],
)
def test_a_source_that_cannot_be_used_is_refused(resolve, results, reference, error, message):
    write_search(results, "running", *make_trial_events("0000", [190.0], status=None))
    with pytest.raises(error) as refused:
        resolve(reference)
    assert message in str(refused.value)


def test_a_configuration_without_any_value_in_the_space_is_refused(resolve):
    with pytest.raises(SpecError, match=r"received trial 0003 .* with filters_1 16 \(here 32\)"):
        resolve("best:earlier", text="[space]\nlatent_dim = { values = [3, 5] }\n")


# A search that has started

SOURCE = "best:earlier"


def write_started(results, resolved):
    """Writes the journal of a started search with starting points of another search."""
    started = make_started("later", search=resolved.spec)
    recorded = started.model_copy(update={"start_from": resolved.start_from})
    write_journal(results / "later", [recorded, make_session()])


def test_a_started_search_keeps_its_starting_points(resolve, results):
    resolved, _ = resolve(SOURCE)
    write_started(results, resolved)
    shutil.rmtree(results / "earlier")
    again, notes = resolve(SOURCE)
    assert (again.spec, again.start_from, notes) == (resolved.spec, resolved.start_from, ())
    with pytest.raises(ResultsError, match='There is no search "earlier"'):
        resolve(SOURCE, overwrite=True)
    with pytest.raises(ResultsError, match='There is no search "earlier"'):
        resolve(f"{SOURCE}:2")


def test_a_stopped_search_continues_with_its_starting_points(tmp_path):
    spec = changed(GRID, start_with=[{"latent_dim": 3, "filters_1": 3}])
    assert len(stop(tmp_path, 3, spec).trials) == 1
    sizes = [trial.hyperparameters["latent_dim"] for trial in run(tmp_path, spec).trials]
    assert sizes == [3, 2]
    with pytest.raises(ResultsError, match=r"another experiment: start_with: .* -> not set"):
        run(tmp_path, GRID)


def test_a_search_continued_without_its_sources_is_refused_with_advice(tmp_path):
    spec = changed(GRID, start_with=[{"latent_dim": 3}])
    resolved = ResolvedSearch("tiny", spec, {}, (SOURCE, "best:other:2"))
    with open_search(resolved, IMAGES, DEVICE, tmp_path):
        pass
    assert load_study(tmp_path / "tiny").started.start_from == resolved.start_from
    advice = "To continue it, use --start-with best:earlier --start-with best:other:2. Use --over"
    with pytest.raises(ResultsError, match=advice):
        run(tmp_path, GRID)


def test_too_many_starting_points_are_refused_before_anything_is_written(tmp_path):
    points = [{"latent_dim": 2}, {"latent_dim": 3}, {"latent_dim": 2, "filters_1": 3}]
    with pytest.raises(SpecError, match="start_with must hold at most as many"):
        run(tmp_path, changed(GRID, start_with=points))
    assert not list(tmp_path.iterdir())
