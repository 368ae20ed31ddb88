"""Every executor calls a source of trials in the same way."""

import os
from pathlib import Path

import pytest
import scripted_workers
import sleeper
from recorded_sources import Source, opening
from scripted_workers import ORDERS_FOLDER, ray_workers
from sleeper import Speed, sleeper_class
from tiny_searches import DEVICE, IMAGES

import vaetune
from vaetune.errors import StoppedEarly
from vaetune.search.executors.local import local_executor
from vaetune.search.executors.ray_cluster import local_cluster
from vaetune.search.executors.resources import WorkerResources


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    """Ray on this machine, with workers that can import the support code and the benchmarks."""
    files = (scripted_workers.__file__, sleeper.__file__, Path(vaetune.__file__).parent)
    paths = [str(Path(file).parent) for file in files]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ORDERS_FOLDER, str(tmp_path_factory.mktemp("orders")))
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        with local_cluster(4, with_gpus=False) as ray:
            yield ray


@pytest.fixture(scope="module")
def local():
    return local_executor(IMAGES, DEVICE)


@pytest.fixture(scope="module")
def counting(ray):
    with ray_workers(ray, 2, IMAGES, WorkerResources(1, 0.0)) as executor:
        yield executor


@pytest.fixture(scope="module")
def sleeping(ray, tmp_path_factory):
    speed = Speed(epoch_s=0.0, spread=0.0, workers=1, folder=tmp_path_factory.mktemp("ready"))
    with ray_workers(ray, 1, IMAGES, WorkerResources(1, 0.0), sleeper_class(speed)) as executor:
        yield executor


@pytest.fixture(params=["local", "counting", "sleeping"])
def executor(request):
    """This process, Ray workers that count epochs, and Ray workers that sleep instead."""
    executor = request.getfixturevalue(request.param)
    executor.wait_until_ready(lambda: None)
    return executor


def run(executor, *sources):
    """Trains sources on an executor; returns the calls."""
    calls = []
    openings = [opening(Source(calls=calls, **source), source["name"], calls) for source in sources]
    try:
        executor.run(openings, lambda: None)
    except StoppedEarly:
        calls.append((None, "raised", None))
    return calls


def calls_of(calls, name, trial=None):
    """The names of the calls of a source, or of one of its trials."""
    return [call for source, call, found in calls if source == name and trial in (None, found)]


@pytest.mark.slow
def test_each_trial_begins_trains_and_ends_once(executor):
    calls = run(executor, {"name": "a"})
    for trial in ("0001", "0002"):
        assert calls_of(calls, "a", trial) == ["begin", "epoch", "completed", "end"]


@pytest.mark.slow
def test_lost_files_are_recreated_after_all_trials_have_ended(executor):
    calls = run(executor, {"name": "a"})
    repaired = ["begin", "epoch", "completed", "end", "epoch", "completed"]
    assert calls_of(calls, "a", "0000") == repaired
    names = calls_of(calls, "a")
    last_end = max(number for number, call in enumerate(names) if call == "end")
    assert names.index("repairs") > last_end
    assert "remove unneeded" in names[names.index("repairs") :]


@pytest.mark.slow
def test_a_search_begins_before_its_trials_and_ends_after_them(executor):
    names = calls_of(run(executor, {"name": "a"}), "a")
    assert (names[0], names[1], names[-1]) == ("open", "search begin", "close")
    assert names.count("search begin") == names.count("search end") == 1
    assert names.index("search end") > max(n for n, call in enumerate(names) if call == "end")


@pytest.mark.slow
def test_checkpoints_in_memory_are_written_after_the_last_completed_task(executor):
    names = calls_of(run(executor, {"name": "a"}), "a")
    completed = max(number for number, call in enumerate(names) if call == "completed")
    assert "flush" in names[completed:]


@pytest.mark.slow
def test_every_search_is_trained_and_closed(executor):
    calls = run(executor, {"name": "a"}, {"name": "b", "trials": 2})
    for name, trials in (("a", 3), ("b", 2)):
        assert calls_of(calls, name).count("end") == trials
        assert calls_of(calls, name)[-1] == "close"


@pytest.mark.slow
def test_a_search_without_remaining_trials_is_closed_immediately(executor):
    calls = []
    searches = [opening(None, "done", calls), opening(Source("b", calls), "b", calls)]
    executor.run(searches, lambda: None)
    assert calls_of(calls, "done") == ["open", "close"]
    assert calls_of(calls, "b").count("end") == 3


@pytest.mark.slow
def test_a_search_that_reaches_a_limit_writes_its_checkpoints_and_stops(executor):
    calls = run(executor, {"name": "a", "trials": 9, "stop_at": "0001"}, {"name": "b"})
    names = calls_of(calls, "a")
    assert calls[-1] == (None, "raised", None)
    assert "stopped" in names
    assert "flush" in names
    assert "search end" not in names
    assert ("a", "begin", "0008") not in calls


@pytest.mark.slow
def test_an_executor_reports_its_workers_device_and_threads(executor):
    assert executor.workers in (1, 2)
    assert executor.environment.device == "CPU"
    assert executor.environment.threads >= 1
