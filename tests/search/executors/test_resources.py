"""Shares of cores and GPUs for the workers of a search."""

import pytest

from vaetune.errors import ExecutorError
from vaetune.search.executors.resources import ExecutorOptions, WorkerResources, allocate


@pytest.mark.parametrize(
    ("workers", "cores", "threads"),
    [(1, 8, 8), (2, 8, 4), (3, 8, 2), (8, 8, 1), (20, 8, 1), (64, 256, 4)],
)
def test_workers_share_the_cores_evenly(workers, cores, threads):
    assert allocate(ExecutorOptions(workers), "auto", cores, 0) == WorkerResources(threads, 0.0)


def test_requested_threads_are_used():
    assert allocate(ExecutorOptions(4, threads=3), "auto", 8, 0).threads == 3


@pytest.mark.parametrize(
    ("workers", "gpus", "share"),
    # Three workers on two GPUs get halves, because a share cannot span two GPUs.
    [(4, 0, 0.0), (1, 1, 1.0), (4, 4, 1.0), (2, 4, 1.0), (4, 1, 0.25), (3, 2, 0.5), (3, 1, 0.3333)],
)
def test_workers_share_the_gpus_evenly(workers, gpus, share):
    assert allocate(ExecutorOptions(workers), "auto", 8, gpus).gpus == share


def test_workers_on_the_cpu_use_no_gpu():
    assert allocate(ExecutorOptions(2), "cpu", 8, 2).gpus == 0.0


@pytest.mark.parametrize(("workers", "share"), [(8, 0.25), (4, 0.5), (2, 1.0), (1, 2.0), (6, 0.3)])
def test_a_requested_share_that_fits_two_gpus_is_used(workers, share):
    spec = ExecutorOptions(workers, gpus_per_worker=share)
    assert allocate(spec, "auto", 8, 2).gpus == share


def test_too_many_workers_are_refused_with_options_that_fit():
    spec = ExecutorOptions(8, gpus_per_worker=0.25)
    with pytest.raises(ExecutorError) as refused:
        allocate(spec, "auto", 8, 1)
    assert str(refused.value) == (
        "8 workers with 0.25 GPUs each do not fit: there is room for 4. "
        "Use --workers 4 or --gpus-per-worker 0.125."
    )


def test_a_cluster_accepts_more_workers_than_fit_at_once():
    spec = ExecutorOptions(8, gpus_per_worker=0.25, address="10.0.0.5:6379")
    assert allocate(spec, "auto", 8, 1).gpus == 0.25


@pytest.mark.parametrize("address", [None, "10.0.0.5:6379"])
def test_more_gpus_per_worker_than_exist_are_refused(address):
    spec = ExecutorOptions(1, gpus_per_worker=2, address=address)
    with pytest.raises(ExecutorError, match=r"--gpus-per-worker 2 is more than Ray found: 1 GPU\."):
        allocate(spec, "auto", 8, 1)


def test_the_device_gpu_is_refused_without_a_gpu():
    with pytest.raises(ExecutorError, match='No GPU found, but the device "gpu" was requested'):
        allocate(ExecutorOptions(2), "gpu", 8, 0)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (ExecutorOptions(4), "4 workers on this machine"),
        (ExecutorOptions(1, address="h:1"), "1 worker on the Ray cluster at h:1"),
        (ExecutorOptions(2, threads=1), "2 workers on this machine, 1 thread each"),
        (
            ExecutorOptions(2, threads=3, gpus_per_worker=0.5),
            "2 workers on this machine, 3 threads and 0.5 GPUs each",
        ),
    ],
)
def test_options_are_described_in_words(spec, text):
    assert str(spec) == text


def test_one_local_worker_needs_no_ray():
    assert not ExecutorOptions().needs_ray
    assert ExecutorOptions(2).needs_ray
    assert ExecutorOptions(1, address="h:1").needs_ray
