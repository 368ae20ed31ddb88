"""A search that is killed, and whose files are damaged, ends like one that was never touched."""

import random

import pytest
import tensorflow as tf

from outcomes import assert_same_search
from tiny_searches import TINY, changed, run, stop
from torture import FILES, Torture
from vaetune.spec import Budget


@pytest.mark.slow
def test_a_search_that_is_killed_at_five_instants_ends_like_one_that_was_not(tmp_path):
    torture = Torture(tmp_path, seed=1)
    torture.run(kills=5)
    assert torture.tally.kills == 5
    assert torture.tally.searches >= 1


@pytest.mark.slow
def test_a_search_that_is_killed_and_whose_files_are_cut_off_recovers(tmp_path):
    torture = Torture(tmp_path, seed=2)
    torture.run(kills=4, cut_share=1.0)
    assert torture.tally.cut >= 2


SPEC = changed(TINY, budget=Budget(max_epochs=3))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    tf.config.experimental.enable_op_determinism()
    return run(tmp_path_factory.mktemp("undisturbed"), SPEC)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pattern", FILES)
def test_a_file_that_is_cut_off_anywhere_is_recovered_from(undisturbed, tmp_path, pattern, seed):
    generator = random.Random(f"{pattern} {seed}")
    study = stop(tmp_path, generator.randint(6, 20), SPEC)
    path = generator.choice(sorted(study.folder.glob(pattern)))
    with path.open("r+b") as file:
        file.truncate(generator.randrange(path.stat().st_size))
    assert_same_search(run(tmp_path, SPEC), undisturbed)
