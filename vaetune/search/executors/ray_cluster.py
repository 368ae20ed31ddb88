"""Ray brought up quietly: on this machine alone, or joined where it runs already."""

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
    # Ray prints the end of a process to stdout; this process reports it in its own words.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}

_LOCAL = {
    # To Ray this means that no other machine will join: all that it starts listens on loopback.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",
}

_ANSWER_S = 5.0
"""In which a cluster answers a first knock; Ray itself would knock for minutes."""

_LONGEST_PATH = 22
"""Of the folder that Ray's own folder is made in."""

_TOKEN_FILE = Path("~/.ray/auth_token")


def import_ray() -> Any:
    """Imports Ray.

    Raises:
        ExecutorError: It is not installed.
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
    """Starts Ray on this machine for this process, and removes everything afterwards.

    It listens on loopback only, and requires a token that is new each time.

    Args:
        cpus: Number of CPUs that Ray counts, and hands out at most.
        with_gpus: Whether it is to hand out GPUs.
    """
    folder = tempfile.mkdtemp(prefix="vaetune-", dir=_short_folder())
    token = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        # `address` is given, or Ray would join the cluster in RAY_ADDRESS.
        starting = _started(
            address="local",
            num_cpus=cpus,
            num_gpus=None if with_gpus else 0,
            include_dashboard=False,
            # Ray opens its own folder to everybody, but not its parent.
            _temp_dir=f"{folder}/r",
        )
        with _environment(_LOCAL | token), starting as ray:
            yield ray
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def joined_cluster(address: str) -> Iterator[Any]:
    """Joins a running cluster; it keeps running afterwards.

    Args:
        address: HOST:PORT of its head.

    Raises:
        ExecutorError: Nothing answers there, or it refuses the connection.
    """
    host, port = _parse(address)
    try:
        socket.create_connection((host, port), timeout=_ANSWER_S).close()
    except OSError as error:
        raise ExecutorError(
            f"No Ray cluster answers at {address}: {error.strerror or error}. Expected is the "
            "address that `ray start --head` printed, while it runs."
        ) from error
    settings = {"RAY_NUM_REDIS_GET_RETRIES": "1"}
    if has_token():
        settings["RAY_AUTH_MODE"] = "token"
    with _environment(settings), _started(address=address) as ray:
        yield ray


def _short_folder() -> str | None:
    """Where temporary files go; Ray's sockets have room for a short path only."""
    return None if len(tempfile.gettempdir()) <= _LONGEST_PATH else "/tmp"


def has_token() -> bool:
    """Whether Ray finds a token to show to a cluster."""
    given = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(given) or _TOKEN_FILE.expanduser().is_file()


def _parse(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ExecutorError(
            f"--address {address} is no address of a Ray cluster. Expected is HOST:PORT, such as "
            "10.0.0.5:6379."
        )
    return host.strip("[]"), int(port)


@contextmanager
def _started(**arguments: Any) -> Iterator[Any]:
    """Ray with this process as its driver."""
    ray = import_ray()
    _read_settings_again()
    with _signals_kept():
        try:
            with hold_back_native_stderr(show_on_error=False):
                ray.init(
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    configure_logging=False,
                    **arguments,
                )
        except SystemExit:  # Ray's answer to SIGTERM, which is a stop like any other
            ray.shutdown()
            raise KeyboardInterrupt from None
        except Exception as error:
            ray.shutdown()
            raise ExecutorError(_why_not(error, arguments["address"])) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _read_settings_again() -> None:
    """Lets Ray take in its environment variables: it reads them once, when it is imported."""
    with suppress(ImportError, AttributeError):  # a later Ray may have moved them
        raylet: Any = import_module("ray._raylet")
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()


def _why_not(error: Exception, address: str) -> str:
    if address == "local":
        return f"Ray does not start on this machine: {_in_one_line(error)}"
    advice = "If it asks for a token, name it: in RAY_AUTH_TOKEN, or in the file ~/.ray/auth_token."
    return f"The Ray cluster at {address} does not let us in: {_in_one_line(error)} {advice}"


def _in_one_line(error: Exception) -> str:
    """What Ray says, as a sentence."""
    return f"{' '.join(str(error).split()).rstrip('.')}."


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables, which processes that are started inherit, for a while.

    Afterwards Ray's are as they were, those too that Ray has set itself.
    """
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in {*before, *os.environ}:
            if not name.startswith("RAY_") and name != "PYTHONBREAKPOINT":
                continue
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Gives back the signal handlers that Ray takes over."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
