"""`vaetune search --workers N`: its results, the files it leaves, and what others can see."""

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
    """A search by one process that was not stopped.

    Attributes:
        results: Folder of its results.
        modules: Names of the modules that it imported.
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
    # Of this process, where TensorFlow may run already.
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
    """Compares two searches and their baselines."""
    assert_same_trials(load_study(ours / "squares"), load_study(theirs / "squares"))
    baselines = sorted(path.name for path in (theirs / BASELINES).iterdir())
    assert len(baselines) == 1
    assert sorted(path.name for path in (ours / BASELINES).iterdir()) == baselines
    for name in baselines:
        assert_same_trials(
            load_study(ours / BASELINES / name), load_study(theirs / BASELINES / name)
        )


@dataclass(frozen=True)
class Look:
    """The processes and files of a command while it runs.

    Attributes:
        processes: Command lines of its processes, by process id.
        addresses: Addresses that they listen on.
        dashboard_addresses: Addresses of Ray's dashboard, a page in the browser.
        token: Token of its Ray.
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
        return {process for process, name in self.processes.items() if "ray::Worker" in name}


def look(vaetune, process):
    processes = processes_of(process.pid)
    (folder,) = vaetune.temporary.glob("vaetune-*")
    (server,) = (one for one, name in processes.items() if "gcs_server" in name)
    dashboard = [one for one, name in processes.items() if "dashboard.py" in name]
    token = environment_of(server)["RAY_AUTH_TOKEN"]
    files = (path for place in (folder, vaetune.home, vaetune.folder) for path in place.rglob("*"))
    return Look(
        processes,
        listening_on(processes),
        listening_on(dashboard),
        token,
        [path for path in files if path.is_file() and token.encode() in path.read_bytes()],
        folder.stat().st_mode & 0o777,
    )


@dataclass(frozen=True)
class Stopped:
    """A search on two workers that was stopped after a few epochs.

    Attributes:
        seen: Its processes and files before it was stopped.
        code: Exit code.
        out: Standard output.
        error: Standard error.
        left: Ray's temporary files afterwards.
    """

    seen: Look
    code: int
    out: str
    error: str
    left: list[str]


def reported(results, event):
    """The number of lines with `event` in a journal that is being written."""
    journal = results / "squares" / "journal.jsonl"
    return journal.read_text().count(event) if journal.exists() else 0


TO_BE_STOPPED = (*SEARCH, *ONE_THREAD, "--workers", "2", "--results", "stopped")


def stop(vaetune, send):
    """Starts or continues the search, and stops it after another epoch."""
    before = reported(vaetune.folder / "stopped", "epoch_ended")

    def goes_on():
        assert process.poll() is None, process.communicate()
        return reported(vaetune.folder / "stopped", "epoch_ended") > before

    with vaetune.start(*TO_BE_STOPPED) as process:
        wait_until(goes_on, "another epoch")
        seen = look(vaetune, process)
        send(process.pid)
        out, error = process.communicate(timeout=120)
        wait_until(lambda: not processes_of(process.pid), "the end of all processes")
        return Stopped(seen, process.returncode, out, error, vaetune.left)


@pytest.fixture(scope="module")
def interrupted(vaetune):
    """The search after Ctrl-C, which all processes of a terminal receive."""
    return stop(vaetune, lambda process: os.killpg(process, signal.SIGINT))


@pytest.fixture(scope="module")
def terminated(vaetune, interrupted):
    """The same search, continued and stopped by SIGTERM."""
    return stop(vaetune, lambda process: os.kill(process, signal.SIGTERM))


@pytest.fixture(params=["interrupted", *long("terminated")])
def stopped(request):
    return request.getfixturevalue(request.param)


def test_ctrl_c_ends_all_processes_and_says_that_nothing_is_lost(stopped):
    assert (stopped.code, stopped.error) == (130, "")
    assert STOPPED in stopped.out
    assert "Traceback" not in stopped.out
    assert len(stopped.seen.workers) == 2
    assert stopped.left == []


def test_local_workers_are_reachable_from_this_machine_alone(stopped):
    assert stopped.seen.addresses
    assert stopped.seen.addresses <= LOOPBACK
    assert stopped.seen.dashboard_addresses == set()
    assert stopped.seen.mode == 0o700


@pytest.mark.long
def test_the_token_of_local_workers_is_new_each_time_and_shown_nowhere(interrupted, terminated):
    assert len(interrupted.seen.token) >= 32
    assert interrupted.seen.token != terminated.seen.token
    for stopped in (interrupted, terminated):
        assert stopped.seen.files_with_token == []
        assert not [name for name in stopped.seen.processes.values() if stopped.seen.token in name]
        assert stopped.seen.token not in stopped.out


def test_ray_says_nothing_of_its_own_and_leaves_the_home_alone(vaetune, interrupted):
    assert not (vaetune.home / ".ray").exists()
    assert "2 workers are ready" in interrupted.out
    assert " ray" not in interrupted.out.lower()


def test_a_signal_while_ray_comes_up_ends_the_command_too(vaetune):
    """Until Ray is ready, it handles SIGTERM itself."""
    with vaetune.start(*SEARCH, "--workers", "2", "--results", "early") as process:
        wait_until(lambda: has_started(process, "raylet"), "Ray")
        process.terminate()
        out, error = process.communicate(timeout=120)
    assert (process.returncode, error) == (130, "")
    assert out.startswith("Stopped.")
    assert vaetune.left == []


def has_started(process, name):
    assert process.poll() is None, process.communicate()
    return any(name in command for command in processes_of(process.pid).values())


def test_what_was_stopped_ends_like_what_was_not(vaetune, interrupted, by_one_process):
    """`tests/stress/torture.py` kills such a search in place of a signal."""
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
def test_the_time_is_up_with_workers_too(vaetune):
    timed = (*SEARCH, *ONE_THREAD, "--workers", "2", "--results", "timed")
    code, out, error = vaetune.run(*timed, "--time-budget", "1s")
    assert (code, error) == (0, "")
    assert "The time budget of 1s is used up. Run the same command again to continue." in out
    assert vaetune.left == []
    study = load_study(vaetune.folder / "timed" / "squares")
    assert study.last_end.reason == "time_budget"
    assert not study.is_complete


def test_a_search_that_is_done_needs_no_worker(vaetune, by_one_process, monkeypatch):
    monkeypatch.chdir(vaetune.folder)
    monkeypatch.setitem(sys.modules, "ray", None)
    tf.constant(1)  # TensorFlow runs here, with another number of threads than a worker.
    arguments = ("--workers", "2", *ONE_THREAD, "--results", by_one_process)
    code, out, error = run_here(*SEARCH, *arguments)
    assert (code, error) == (0, "")
    assert "The search is complete: nothing is left to train." in out


# A cluster that runs already


TOKEN = "0123456789abcdef" * 4
HEALTH = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "2",
}
"""With these, the loss of a machine is noticed within seconds."""


def test_joining_a_cluster_that_asks_for_no_token_prints_a_warning(vaetune, temporary):
    with ray_head(vaetune.environment, temporary / "o") as (address, session):
        joining = (*SEARCH, "--address", address, "--results", "open")
        with vaetune.start(*joining) as process:
            said = process.stderr.readline()
            os.killpg(process.pid, signal.SIGINT)
            _, error = process.communicate(timeout=120)
        assert (process.returncode, error) == (130, "")
        assert processes_of(session), "it goes on without us"
    assert said == (
        f"The Ray cluster at {address} does not require a token: anyone who can reach its ports "
        "can run programs on it. See RAY_AUTH_MODE in Ray's manual.\n"
    )


@pytest.fixture(scope="module")
def with_token(vaetune):
    """Environment variables of a cluster that requires a token."""
    shown = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    return {**vaetune.environment, **HEALTH, **shown}


@pytest.fixture(scope="module")
def address(with_token, temporary):
    """Address of a cluster that requires a token."""
    with ray_head(with_token, temporary / "a") as (address, _):
        yield address


@pytest.fixture
def on_cluster(address):
    return (*SEARCH, *ONE_THREAD, "--workers", "2", "--address", address, "--results", "far")


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param({}, id="none"),
        pytest.param({"RAY_AUTH_TOKEN": "f" * 64}, id="another", marks=pytest.mark.long),
    ],
)
def test_a_cluster_that_wants_a_token_refuses_who_has_another_or_none(
    vaetune, temporary, address, on_cluster, shown
):
    code, _, error = Vaetune(vaetune.folder, temporary, **shown).run(*on_cluster)
    assert code == 1
    assert error == (
        f"vaetune: The Ray cluster at {address} refused the connection: Failed to connect "
        f"to Ray cluster at {address}. If it needs a token, set RAY_AUTH_TOKEN or write "
        "the file ~/.ray/auth_token.\n"
    )
    assert not (vaetune.folder / "far").exists()


@pytest.mark.long
def test_a_search_outlives_one_of_two_machines(
    vaetune, temporary, with_token, address, on_cluster, by_one_process
):
    results = vaetune.folder / "far"

    def is_under_way():
        assert process.poll() is None, process.communicate()
        return reported(results, "worker_joined") == 2 and reported(results, "epoch_ended")

    joining = Vaetune(vaetune.folder, temporary, RAY_AUTH_TOKEN=TOKEN)
    with (
        ray_node(with_token, temporary / "b", f"--address={address}") as second,
        joining.start(*on_cluster) as process,
    ):
        wait_until(is_under_way, "two workers")
        kill_session(second)
        out, error = process.communicate(timeout=300)
    assert (process.returncode, error) == (0, ""), out
    study = load_study(results / "squares")
    (lost,) = study.workers_lost
    assert lost.error == "Its machine no longer answers."
    assert_same_results(results, by_one_process)
    assert TOKEN not in out
    assert TOKEN not in (study.folder / "journal.jsonl").read_text()


def test_an_address_where_nothing_listens_is_refused(vaetune):
    (port,) = free_ports(1)
    code, _, error = vaetune.run(*SEARCH, "--address", f"127.0.0.2:{port}", "--results", "nowhere")
    assert code == 1
    assert error == (
        f"vaetune: No Ray cluster answers at 127.0.0.2:{port}: Connection refused. Expected the "
        "address that `ray start --head` printed. Check that the cluster is running.\n"
    )
    assert not (vaetune.folder / "nowhere").exists()


def test_a_gpu_that_is_not_there_is_missed_before_any_worker_starts(vaetune, monkeypatch):
    monkeypatch.chdir(vaetune.folder)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code, _, error = run_here(*SEARCH, "--workers", "2", "--device", "gpu", "--results", "no-gpu")
    assert code == 1
    assert error == (
        'vaetune: No GPU found, but the device "gpu" was requested. Use "cpu" or "auto". Ray '
        "counts the GPUs that nvidia-smi lists.\n"
    )
    assert not (vaetune.folder / "no-gpu").exists()


def test_without_ray_several_workers_are_refused_with_how_to_install_it(vaetune, monkeypatch):
    monkeypatch.chdir(vaetune.folder)
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, error = run_here(*SEARCH, "--workers", "2", "--results", "without")
    assert code == 1
    assert error == (
        "vaetune: Several workers need Ray, which is not installed. "
        "Install it with: pip install 'vaetune[distributed]'\n"
    )
    assert not (vaetune.folder / "without").exists()
