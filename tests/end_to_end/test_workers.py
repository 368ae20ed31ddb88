"""`vaetune search --workers N`: its results, the files that remain, and who can reach it."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from commands import (
    Vaetune,
    environment_of,
    free_ports,
    kill_session,
    listening_on,
    processes_of,
    ray_head,
    ray_node,
    short_folder,
)
from comparisons import assert_same_trials
from exports import vaetune as run_here
from image_sets import make_split
from long_forms import long
from scripted_workers import wait_until
from torture import SEARCH_FILE
from user_folder import assert_reference_is_drawn

from vaetune.config.names import BASELINES
from vaetune.device import available_cores
from vaetune.study.builder import load_study

pytestmark = pytest.mark.slow

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
WITH_EXAMPLE = SEARCH_FILE.replace("baseline = false\n", "")
LONGER = 'objective = "knn_accuracy"' + WITH_EXAMPLE.replace(
    "max_epochs = 3", "max_epochs = 6\nmin_epochs = 2"
)
"""10 trials of up to six epochs, and the Keras example. Workers measure losses and accuracies."""

SEARCH = ("search", "./squares.toml")
ONE_THREAD = ("--threads-per-worker", "1")

STOPPED = "Stopped. Everything found so far is kept. Run the same command again to continue.\n"


@pytest.fixture(scope="module")
def temporary():
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def vaetune(temporary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    train, test = make_split(30, (9, 10, 1), 1), make_split(12, (9, 10, 1), 2)
    arrays = {"x_train": train.images, "y_train": train.labels}
    arrays |= {"x_test": test.images, "y_test": test.labels}
    np.savez(folder / "squares.npz", **arrays)
    (folder / "squares.toml").write_text(LONGER)
    return Vaetune(folder, temporary)


@dataclass(frozen=True)
class Undisturbed:
    """A search in one process that was not stopped.

    Attributes:
        results: Folder of the results.
        modules: Names of the modules that the process imported.
    """

    results: Path
    modules: set[str]


@pytest.fixture(scope="module")
def undisturbed(vaetune):
    flags = ("--workers", "1", "--results", "one", "-q")
    code, _, error, modules = vaetune.run_and_list_imports(*SEARCH, *ONE_THREAD, *flags)
    assert (code, error) == (0, "")
    return Undisturbed(vaetune.folder / "one", modules)


@pytest.fixture(scope="module")
def by_one_process(undisturbed):
    return undisturbed.results


def test_check_estimates_the_time_of_several_workers_without_ray(vaetune, monkeypatch):
    monkeypatch.chdir(vaetune.folder)
    monkeypatch.setitem(sys.modules, "ray", None)
    # TensorFlow may already be running in this process with another number of threads.
    threads = tf.config.threading.get_intra_op_parallelism_threads() or available_cores()
    flags = ("--workers", 2, "--threads-per-worker", threads)
    code, out, error = run_here("check", "./squares.toml", *flags)
    assert (code, error) == (0, "")
    assert "2 workers on this machine" in out
    assert "Estimated time for 2 workers: " in out
    assert out.endswith("Ready. Next: vaetune search ./squares.toml and the same options\n")


def test_one_worker_on_this_machine_does_not_import_ray(undisturbed):
    assert "vaetune.search.session" in undisturbed.modules
    assert "ray" not in undisturbed.modules


def assert_same_results(ours, theirs):
    """Checks that two searches and their baselines have the same results."""
    assert_same_trials(load_study(ours / "squares"), load_study(theirs / "squares"))
    baselines = sorted(path.name for path in (theirs / BASELINES).iterdir())
    assert len(baselines) == 1
    assert sorted(path.name for path in (ours / BASELINES).iterdir()) == baselines
    for name in baselines:
        assert_same_trials(
            load_study(ours / BASELINES / name), load_study(theirs / BASELINES / name)
        )


@dataclass(frozen=True)
class ProcessSnapshot:
    """The processes and files of a running command.

    Attributes:
        processes: Command lines of the processes, by process id.
        addresses: Addresses that the processes listen on.
        dashboard_addresses: Addresses of Ray's dashboard, a web page.
        token: Token of the Ray cluster.
        files_with_token: Files that contain the token.
        mode: Permissions of the folder of Ray's files.
    """

    processes: dict[int, str]
    addresses: set[str]
    dashboard_addresses: set[str]
    token: str
    files_with_token: list[Path]
    mode: int

    @property
    def workers(self):
        """The process ids of the workers."""
        return {process for process, name in self.processes.items() if "ray::Worker" in name}


def take_snapshot(vaetune, process):
    processes = processes_of(process.pid)
    (folder,) = vaetune.temporary.glob("vaetune-*")
    (server,) = (one for one, name in processes.items() if "gcs_server" in name)
    dashboard = [one for one, name in processes.items() if "dashboard.py" in name]
    token = environment_of(server)["RAY_AUTH_TOKEN"]
    files = (path for root in (folder, vaetune.home, vaetune.folder) for path in root.rglob("*"))
    return ProcessSnapshot(
        processes,
        listening_on(processes),
        listening_on(dashboard),
        token,
        [path for path in files if path.is_file() and token.encode() in path.read_bytes()],
        folder.stat().st_mode & 0o777,
    )


@dataclass(frozen=True)
class Stopped:
    """A search on two workers that was stopped after an epoch.

    Attributes:
        snapshot: Processes and files before the stop.
        code: Exit status.
        out: Standard output.
        error: Standard error.
        remaining_files: Temporary files of Ray after the stop.
    """

    snapshot: ProcessSnapshot
    code: int
    out: str
    error: str
    remaining_files: list[str]


def count_events(results, event):
    """The number of lines with `event` in a journal that is being written."""
    journal = results / "squares" / "journal.jsonl"
    return journal.read_text().count(event) if journal.exists() else 0


TO_BE_STOPPED = (*SEARCH, *ONE_THREAD, "--workers", "2", "--results", "stopped")


def stop(vaetune, send):
    """Starts or continues the search, and stops it after another epoch.

    Args:
        vaetune: Command line.
        send: Function that sends a signal to a process, given its id.
    """
    before = count_events(vaetune.folder / "stopped", "epoch_ended")

    def has_trained():
        assert process.poll() is None, process.communicate()
        return count_events(vaetune.folder / "stopped", "epoch_ended") > before

    with vaetune.start(*TO_BE_STOPPED) as process:
        wait_until(has_trained, "another epoch")
        snapshot = take_snapshot(vaetune, process)
        send(process.pid)
        out, error = process.communicate(timeout=120)
        wait_until(lambda: not processes_of(process.pid), "the end of all processes")
        return Stopped(snapshot, process.returncode, out, error, vaetune.remaining_files)


@pytest.fixture(scope="module")
def interrupted(vaetune):
    """The search after Ctrl-C, which sends SIGINT to all processes of a terminal."""
    return stop(vaetune, lambda process: os.killpg(process, signal.SIGINT))


@pytest.fixture(scope="module")
def terminated(vaetune, interrupted):
    """The same search, continued and then stopped by SIGTERM."""
    return stop(vaetune, lambda process: os.kill(process, signal.SIGTERM))


@pytest.fixture(params=["interrupted", *long("terminated")])
def stopped(request):
    return request.getfixturevalue(request.param)


def test_a_signal_ends_all_processes_and_prints_how_to_continue(stopped):
    assert (stopped.code, stopped.error) == (130, "")
    assert STOPPED in stopped.out
    assert "Traceback" not in stopped.out
    assert len(stopped.snapshot.workers) == 2
    assert stopped.remaining_files == []


def test_local_workers_are_reachable_from_this_machine_only(stopped):
    assert stopped.snapshot.addresses
    assert stopped.snapshot.addresses <= LOOPBACK
    assert stopped.snapshot.dashboard_addresses == set()
    assert stopped.snapshot.mode == 0o700


@pytest.mark.long
def test_local_workers_have_a_new_token_in_each_session_and_hide_it(interrupted, terminated):
    assert len(interrupted.snapshot.token) >= 32
    assert interrupted.snapshot.token != terminated.snapshot.token
    for stopped in (interrupted, terminated):
        assert stopped.snapshot.files_with_token == []
        assert not [
            name for name in stopped.snapshot.processes.values() if stopped.snapshot.token in name
        ]
        assert stopped.snapshot.token not in stopped.out


def test_ray_prints_no_messages_and_creates_no_folder_in_the_home(vaetune, interrupted):
    assert not (vaetune.home / ".ray").exists()
    assert "2 workers are ready" in interrupted.out
    assert " ray" not in interrupted.out.lower()


def test_sigterm_during_the_start_of_ray_ends_the_command(vaetune):
    """Until Ray is ready, Ray handles SIGTERM itself."""
    with vaetune.start(*SEARCH, "--workers", "2", "--results", "early") as process:
        wait_until(lambda: has_started(process, "raylet"), "Ray")
        process.terminate()
        out, error = process.communicate(timeout=120)
    assert (process.returncode, error) == (130, "")
    assert out.startswith("Stopped.")
    assert vaetune.remaining_files == []


def has_started(process, name):
    assert process.poll() is None, process.communicate()
    return any(name in command for command in processes_of(process.pid).values())


def test_a_stopped_search_on_workers_has_the_results_of_one_process(
    vaetune, interrupted, by_one_process
):
    """`tests/stress/torture.py` kills such a search instead of sending a signal."""
    folder = vaetune.folder / "stopped" / "squares"
    code, out, error = vaetune.run(*TO_BE_STOPPED)
    assert (code, error) == (0, "")
    assert "Winner of squares (complete, 10 trials)" in out
    study = load_study(folder)
    assert {session.workers for session in study.sessions} == {2}
    assert study.rescored.rescoring.chosen_by == "knn_accuracy"
    assert_same_results(vaetune.folder / "stopped", by_one_process)
    assert_reference_is_drawn((vaetune.folder / "stopped" / "report.html").read_text())


@pytest.mark.long
def test_workers_with_compiled_steps_share_programs_and_agree_with_one_process(
    vaetune, by_one_process
):
    compiled = LONGER.replace("[training]", '[training]\ncompile = "padded"')
    (vaetune.folder / "compiled.toml").write_text(compiled)
    programs = vaetune.home / ".cache" / "vaetune" / "programs"
    flags = ("--workers", "2", *ONE_THREAD, "--no-baseline")
    files = []
    for name, seed in (("first", 3), ("second", 3), ("third", 4)):
        given = ("--results", name, "--seed", seed)
        code, _, error = vaetune.run("search", "./compiled.toml", *flags, *map(str, given))
        assert (code, error) == (0, "")
        files.append(sorted(path.name for path in programs.iterdir()))
    assert files[0] == files[1] == files[2] != []
    assert len({name.rpartition(".")[0] for name in files[0]}) == len(files[0])
    first, second, plain = (
        first_losses_of(vaetune.folder / folder)
        for folder in ("first/compiled", "second/compiled", by_one_process / "squares")
    )
    assert first == second
    assert first.keys() == plain.keys()
    assert list(first.values()) == pytest.approx(list(plain.values()), rel=1e-4)


def first_losses_of(folder):
    """The loss of the first epoch of each configuration."""
    trials = [trial for trial in load_study(folder).trials if trial.parent is None]
    return {trial.configuration: trial.epochs[0].val_loss for trial in trials}


@pytest.mark.long
def test_the_time_budget_stops_a_search_on_workers(vaetune):
    timed = (*SEARCH, *ONE_THREAD, "--workers", "2", "--results", "timed")
    code, out, error = vaetune.run(*timed, "--time-budget", "1s")
    assert (code, error) == (0, "")
    assert "The time budget of 1s is used up. Run the same command again to continue." in out
    assert vaetune.remaining_files == []
    study = load_study(vaetune.folder / "timed" / "squares")
    assert study.last_end.reason == "time_budget"
    assert not study.is_complete


def test_a_complete_search_starts_no_workers(vaetune, by_one_process, monkeypatch):
    monkeypatch.chdir(vaetune.folder)
    monkeypatch.setitem(sys.modules, "ray", None)
    tf.constant(1)  # TensorFlow now has another number of threads in this process than in a worker.
    arguments = ("--workers", "2", *ONE_THREAD, "--results", by_one_process)
    code, out, error = run_here(*SEARCH, *arguments)
    assert (code, error) == (0, "")
    assert "The search is complete: nothing is left to train." in out


# A running cluster


TOKEN = "0123456789abcdef" * 4
HEALTH = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "2",
}
"""Settings with which Ray notices the loss of a machine within seconds."""


def test_a_cluster_that_requires_no_token_causes_a_warning(vaetune, temporary):
    with ray_head(vaetune.environment, temporary / "o") as (address, session):
        joining = (*SEARCH, "--address", address, "--results", "open")
        with vaetune.start(*joining) as process:
            warning = process.stderr.readline()
            os.killpg(process.pid, signal.SIGINT)
            _, error = process.communicate(timeout=120)
        assert (process.returncode, error) == (130, "")
        assert processes_of(session), "the cluster keeps running"
    assert warning == (
        f"The Ray cluster at {address} does not require a token: anyone who can reach its ports "
        "can run programs on it. See RAY_AUTH_MODE in Ray's manual.\n"
    )


@pytest.fixture(scope="module")
def with_token(vaetune):
    """Environment variables of a cluster that requires a token."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    return {**vaetune.environment, **HEALTH, **token}


@pytest.fixture(scope="module")
def address(with_token, temporary):
    """The address of a cluster that requires a token."""
    with ray_head(with_token, temporary / "a") as (address, _):
        yield address


@pytest.fixture
def on_cluster(address):
    """Arguments that run the search on the cluster."""
    return (*SEARCH, *ONE_THREAD, "--workers", "2", "--address", address, "--results", "far")


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({}, id="none"),
        pytest.param({"RAY_AUTH_TOKEN": "f" * 64}, id="another", marks=pytest.mark.long),
    ],
)
def test_a_cluster_refuses_a_missing_or_wrong_token(
    vaetune, temporary, address, on_cluster, variables
):
    code, _, error = Vaetune(vaetune.folder, temporary, **variables).run(*on_cluster)
    assert code == 1
    assert error == (
        f"vaetune: The Ray cluster at {address} refused the connection: Failed to connect "
        f"to Ray cluster at {address}. If it needs a token, set RAY_AUTH_TOKEN or write "
        "the file ~/.ray/auth_token.\n"
    )
    assert not (vaetune.folder / "far").exists()


@pytest.mark.long
def test_a_search_survives_the_loss_of_one_of_two_machines(
    vaetune, temporary, with_token, address, on_cluster, by_one_process
):
    results = vaetune.folder / "far"

    def is_running():
        assert process.poll() is None, process.communicate()
        return count_events(results, "worker_joined") == 2 and count_events(results, "epoch_ended")

    joining = Vaetune(vaetune.folder, temporary, RAY_AUTH_TOKEN=TOKEN)
    with (
        ray_node(with_token, temporary / "b", f"--address={address}") as second,
        joining.start(*on_cluster) as process,
    ):
        wait_until(is_running, "two workers")
        kill_session(second)
        out, error = process.communicate(timeout=300)
    assert (process.returncode, error) == (0, ""), out
    study = load_study(results / "squares")
    (lost,) = study.workers_lost
    assert lost.error == "Its machine no longer answers."
    assert_same_results(results, by_one_process)
    assert TOKEN not in out
    assert TOKEN not in (study.folder / "journal.jsonl").read_text()


def test_an_address_without_a_cluster_is_reported(vaetune):
    (port,) = free_ports(1)
    code, _, error = vaetune.run(*SEARCH, "--address", f"127.0.0.2:{port}", "--results", "nowhere")
    assert code == 1
    assert error == (
        f"vaetune: No Ray cluster answers at 127.0.0.2:{port}: Connection refused. Expected the "
        "address that `ray start --head` printed. Check that the cluster is running.\n"
    )
    assert not (vaetune.folder / "nowhere").exists()


def test_a_missing_gpu_is_reported_before_workers_start(vaetune, monkeypatch):
    monkeypatch.chdir(vaetune.folder)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code, _, error = run_here(*SEARCH, "--workers", "2", "--device", "gpu", "--results", "no-gpu")
    assert code == 1
    assert error == (
        'vaetune: No GPU found, but the device "gpu" was requested. Use "cpu" or "auto". Ray '
        "counts the GPUs that nvidia-smi lists.\n"
    )
    assert not (vaetune.folder / "no-gpu").exists()


def test_missing_ray_is_reported_with_the_command_that_installs_it(vaetune, monkeypatch):
    monkeypatch.chdir(vaetune.folder)
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, error = run_here(*SEARCH, "--workers", "2", "--results", "without")
    assert code == 1
    assert error == (
        "vaetune: Several workers need Ray, which is not installed. "
        "Install it with: pip install 'vaetune[distributed]'\n"
    )
    assert not (vaetune.folder / "without").exists()
