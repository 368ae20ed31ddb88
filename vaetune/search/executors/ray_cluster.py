"""Starts Ray on this machine, or joins a running cluster, without its console output."""

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from vaetune.device import hold_back_native_stderr
from vaetune.errors import ExecutorError

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray reports lost processes on stdout. The search reports them itself.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}

_LOCAL = {
    # Ray then expects no other machine to join, and its processes listen on loopback only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",
}

_CONNECT_TIMEOUT_S = 5.0
"""Seconds to wait for a first answer of a cluster. Ray itself would try for minutes."""

_MAX_PATH_LENGTH = 22
"""Characters in the path of the folder that contains Ray's own folder, at most."""

_TOKEN_FILE = Path("~/.ray/auth_token")


def import_ray() -> Any:
    """Imports Ray and returns the module.

    Raises:
        ExecutorError: Ray is not installed.
    """
    os.environ.update(_QUIET)
    try:
        import ray
    except ImportError as error:
        raise ExecutorError(
            "Several workers need Ray, which is not installed. "
            "Install it with: pip install 'vaetune[distributed]'"
        ) from error
    return ray


@contextmanager
def local_cluster(cpus: int, with_gpus: bool) -> Iterator[Any]:
    """Starts Ray on this machine for this process, and removes it completely afterwards.

    Ray listens on loopback only. Clients must present a token, which is new each time.

    Args:
        cpus: Number of CPUs that Ray hands out to workers.
        with_gpus: Whether Ray hands out GPUs.
    """
    folder = tempfile.mkdtemp(prefix="vaetune-", dir=_short_folder())
    temporary = tempfile.mkdtemp(prefix="vaetune_workers-")
    token = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        # Without an explicit address, Ray would join the cluster named in RAY_ADDRESS.
        starting = _connected(
            address="local",
            num_cpus=cpus,
            num_gpus=None if with_gpus else 0,
            include_dashboard=False,
            # Ray makes its own folder accessible to all users, but mkdtemp's folder around it
            # is private.
            _temp_dir=f"{folder}/r",
        )
        # Workers do not remove their temporary files when they are stopped.
        with _environment(_LOCAL | token | {"TMPDIR": temporary}), starting as ray:
            yield ray
    finally:
        for each in (folder, temporary):
            shutil.rmtree(each, ignore_errors=True)


@contextmanager
def joined_cluster(address: str) -> Iterator[Any]:
    """Joins a running cluster, and leaves it running afterwards.

    Args:
        address: HOST:PORT of the head of the cluster.

    Raises:
        ExecutorError: There is no cluster at this address, or it refuses the connection.
    """
    host, port = _parse(address)
    try:
        socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ExecutorError(
            f"No Ray cluster answers at {address}: {error.strerror or error}. Expected the "
            "address that `ray start --head` printed. Check that the cluster is running."
        ) from error
    settings = {"RAY_NUM_REDIS_GET_RETRIES": "1"}
    if has_token():
        settings["RAY_AUTH_MODE"] = "token"
    with _environment(settings), _connected(address=address) as ray:
        yield ray


def _short_folder() -> str | None:
    """Returns a folder for temporary files, or None for the default one.

    The path must be short, because the path of a socket is limited and Ray's sockets lie deep
    below it.
    """
    return None if len(tempfile.gettempdir()) <= _MAX_PATH_LENGTH else "/tmp"


def has_token() -> bool:
    """Returns whether Ray finds a token with which to join a cluster."""
    given = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(given) or _TOKEN_FILE.expanduser().is_file()


def _parse(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ExecutorError(
            f"--address {address} is not the address of a Ray cluster. Expected HOST:PORT, such as "
            "10.0.0.5:6379."
        )
    return host.strip("[]"), int(port)


@contextmanager
def _connected(**arguments: Any) -> Iterator[Any]:
    """Yields Ray, initialized with the given arguments, with this process as its driver."""
    ray = import_ray()
    _reload_settings()
    with _preserved_signal_handlers():
        try:
            with hold_back_native_stderr(show_on_error=False):
                ray.init(
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    configure_logging=False,
                    **arguments,
                )
        except SystemExit:  # Ray exits on SIGTERM; here SIGTERM stops the search like Ctrl-C.
            ray.shutdown()
            raise KeyboardInterrupt from None
        except Exception as error:
            ray.shutdown()
            raise ExecutorError(_explain(error, arguments["address"])) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _reload_settings() -> None:
    """Makes Ray read its environment variables, which it otherwise reads only on import."""
    with suppress(ImportError, AttributeError):  # A later version of Ray may have moved them.
        raylet: Any = import_module("ray._raylet")
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()


def _explain(error: Exception, address: str) -> str:
    if address == "local":
        return f"Ray does not start on this machine: {_in_one_line(error)}"
    advice = "If it needs a token, set RAY_AUTH_TOKEN or write the file ~/.ray/auth_token."
    return f"The Ray cluster at {address} refused the connection: {_in_one_line(error)} {advice}"


def _in_one_line(error: Exception) -> str:
    """Returns the message of an error as one sentence."""
    return f"{' '.join(str(error).split()).rstrip('.')}."


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for this process and those that it starts.

    Afterwards these and all of Ray's variables have their earlier values, including those that Ray
    itself has set.
    """
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in {*before, *os.environ}:
            if name not in settings and not name.startswith("RAY_") and name != "PYTHONBREAKPOINT":
                continue
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


@contextmanager
def _preserved_signal_handlers() -> Iterator[None]:
    """Restores the handlers of SIGINT and SIGTERM, which Ray replaces."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
