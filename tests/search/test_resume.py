"""Whether a search has something left to do is known before anything is started for it."""

from dataclasses import replace

import pytest
from image_sets import make_images
from tiny_searches import IMAGES, TINY, changed, run, stop

from vaetune.config.reading import Reading
from vaetune.config.search_file import ResolvedSearch
from vaetune.config.spec import Budget, Limits
from vaetune.errors import InUseError, JournalError, ResultsError
from vaetune.files import lock_results
from vaetune.search.resume import is_unfinished
from vaetune.study.checkpoint import CHECKPOINT_NAME

QUICK = changed(TINY, algorithm="random", budget=Budget(max_epochs=1, max_trials=2))


def left(results, spec=QUICK, images=IMAGES, **options):
    return is_unfinished(ResolvedSearch("tiny", spec, {}), images, results, **options)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    results = tmp_path_factory.mktemp("done")
    run(results, QUICK)
    return results


def test_a_new_search_has_all_to_do(tmp_path):
    assert left(tmp_path)


def test_a_search_that_was_stopped_has_the_rest_to_do(tmp_path):
    stop(tmp_path, 3, QUICK)
    assert left(tmp_path)


def test_a_search_that_is_done_has_nothing_to_do(done):
    journal = (done / "tiny" / "journal.jsonl").read_bytes()
    assert not left(done)
    assert (done / "tiny" / "journal.jsonl").read_bytes() == journal


def test_overwriting_more_trials_or_more_seeds_is_something_to_do(done):
    more = changed(QUICK, budget=Budget(max_epochs=1, max_trials=3))
    assert left(done, overwrite=True)
    assert left(done, more, extend=True)
    assert left(done, changed(QUICK, limits=Limits(final_seeds=1)))


def test_a_lost_file_is_something_to_do(tmp_path):
    study = run(tmp_path, QUICK)
    (study.trial_folder(study.winner.trial_id) / CHECKPOINT_NAME).unlink()
    assert left(tmp_path)


def test_what_a_search_would_be_refused_for_is_refused_at_once(done, tmp_path):
    with pytest.raises(ResultsError, match="holds another experiment: seed: 3 -> 4"):
        left(done, changed(QUICK, seed=4))
    with pytest.raises(ResultsError, match="holds another experiment: data fingerprint"):
        left(done, images=make_images(fingerprint="a" * 64))
    read = Reading(kind="arrays", dtype="uint16", low=0, high=4095, range=(0, 4095))
    changed_reading = replace(make_images(fingerprint="a" * 64), reading=read)
    with pytest.raises(ResultsError, match=r"in that search: uint16 values 0\.\.4095 are taken as"):
        left(done, images=changed_reading)
    with pytest.raises(ResultsError, match=r"already complete\. To extend it, raise budget"):
        left(done, extend=True)
    with pytest.raises(InUseError, match="is in use by process"), lock_results(done / "tiny"):
        left(done)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.docx").touch()
    with pytest.raises(ResultsError, match=r"files of another program, such as thesis\.docx"):
        left(tmp_path)
    (tmp_path / "tiny" / "journal.jsonl").write_text("{}\n")
    with pytest.raises(JournalError, match="is not a journal of vaetune"):
        left(tmp_path)
