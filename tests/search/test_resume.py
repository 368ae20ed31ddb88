"""`is_unfinished` decides whether a search has work left, without starting the search."""

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


def unfinished(results, spec=QUICK, images=IMAGES, **options):
    return is_unfinished(ResolvedSearch("tiny", spec, {}), images, results, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    results = tmp_path_factory.mktemp("done")
    run(results, QUICK)
    return results


def test_a_new_search_is_unfinished(tmp_path):
    assert unfinished(tmp_path)


def test_an_interrupted_search_is_unfinished(tmp_path):
    stop(tmp_path, 3, QUICK)
    assert unfinished(tmp_path)


def test_a_complete_search_is_finished_and_not_changed(finished):
    journal = (finished / "tiny" / "journal.jsonl").read_bytes()
    assert not unfinished(finished)
    assert (finished / "tiny" / "journal.jsonl").read_bytes() == journal


def test_an_overwrite_an_extension_or_other_seeds_make_a_search_unfinished(finished):
    more = changed(QUICK, budget=Budget(max_epochs=1, max_trials=3))
    assert unfinished(finished, overwrite=True)
    assert unfinished(finished, more, extend=True)
    assert unfinished(finished, changed(QUICK, limits=Limits(final_seeds=1)))


def test_a_search_with_a_lost_checkpoint_is_unfinished(tmp_path):
    study = run(tmp_path, QUICK)
    (study.trial_folder(study.winner.trial_id) / CHECKPOINT_NAME).unlink()
    assert unfinished(tmp_path)


def test_a_search_that_cannot_continue_is_refused(finished, tmp_path):
    with pytest.raises(ResultsError, match="holds another experiment: seed: 3 -> 4"):
        unfinished(finished, changed(QUICK, seed=4))
    with pytest.raises(ResultsError, match="holds another experiment: data fingerprint"):
        unfinished(finished, images=make_images(fingerprint="a" * 64))
    read = Reading(kind="arrays", dtype="uint16", low=0, high=4095, range=(0, 4095))
    changed_reading = replace(make_images(fingerprint="a" * 64), reading=read)
    with pytest.raises(ResultsError, match=r"in that search: uint16 values 0\.\.4095 are taken as"):
        unfinished(finished, images=changed_reading)
    with pytest.raises(ResultsError, match=r"already complete\. To extend it, raise budget"):
        unfinished(finished, extend=True)
    with pytest.raises(InUseError, match="is in use by process"), lock_results(finished / "tiny"):
        unfinished(finished)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.docx").touch()
    with pytest.raises(ResultsError, match=r"files of another program, such as thesis\.docx"):
        unfinished(tmp_path)
    (tmp_path / "tiny" / "journal.jsonl").write_text("{}\n")
    with pytest.raises(JournalError, match="is not a journal of vaetune"):
        unfinished(tmp_path)
