"""Starting and joining Ray clusters; a local cluster leaves nothing behind."""

import os
import re
import signal
import tempfile

import pytest
from commands import free_ports, short_folder
from long_forms import long

from vaetune.errors import ExecutorError
from vaetune.search.executors.ray_cluster import has_token, joined_cluster, local_cluster


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, *long(2)])
def test_a_local_cluster_leaves_the_process_unchanged(monkeypatch, times):
    with short_folder() as temporary:
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.2:1")  # This cluster must not be joined.
        before = process_state()
        for _ in range(times):
            with local_cluster(1, with_gpus=False) as ray:
                assert ray.cluster_resources()["CPU"] == 1
                assert ray.cluster_resources().get("GPU", 0) == 0
                assert process_state()["handlers"] == before["handlers"]
            assert not ray.is_initialized()
            assert list(temporary.iterdir()) == []
            assert process_state() == before


def process_state():
    """Environment and signal handlers of this process, without the variables that silence Ray."""
    quiet = ("RAY_USAGE_STATS_ENABLED", "RAY_DEDUP_LOGS_SKIP_REGEX")
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return {"environment": environment, "handlers": handlers}


@pytest.mark.parametrize("address", ["", "6379", "h", ":6379", "h:", "h:x", "h:0", "h:65536"])
def test_an_invalid_address_is_refused(address):
    expected = f"--address {address} is not the address of a Ray cluster. Expected HOST:PORT"
    with pytest.raises(ExecutorError, match=re.escape(expected)), joined_cluster(address):
        pass


def test_an_address_without_a_cluster_is_refused():
    (port,) = free_ports(1)
    expected = f"No Ray cluster answers at 127.0.0.2:{port}: Connection refused"
    with pytest.raises(ExecutorError, match=expected), joined_cluster(f"127.0.0.2:{port}"):
        pass


@pytest.mark.parametrize(
    ("variable", "is_there"),
    [("RAY_AUTH_TOKEN", True), ("RAY_AUTH_TOKEN_PATH", True), ("RAY_AUTH_MODE", False)],
)
def test_a_token_is_found_in_the_places_that_ray_reads(monkeypatch, tmp_path, variable, is_there):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not has_token()
    monkeypatch.setenv(variable, "token")
    assert has_token() == is_there
    monkeypatch.delenv(variable)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("token")
    assert has_token()
