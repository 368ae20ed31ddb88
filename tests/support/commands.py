"""Commands in their own processes, and their child processes, ports and temporary files."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from prepared_commands import PreparedCommand

from vaetune.cli import app

HERE = Path(__file__).parent
SOURCE = Path(app.__file__).parents[2]

PROGRAM = """
import atexit, pathlib, sys
noted = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: noted.write_text(" ".join(sys.modules)))
from vaetune.cli import main
main()
"""

_LISTENING = "0A"


@contextmanager
def short_folder():
    """A folder with a short path, because Ray limits the length of the paths of its sockets."""
    folder = Path(tempfile.mkdtemp(prefix="v", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Vaetune:
    """The command line in a folder, with its own home and its own folder of temporary files.

    Args:
        folder: Working directory.
        temporary: Parent of the home and of the temporary files, see `short_folder`.
        environment: Additional environment variables.
    """

    def __init__(self, folder, temporary, **environment):
        self.folder, self.temporary, self.home = folder, temporary / "t", temporary / "h"
        for path in (self.temporary, self.home):
            path.mkdir(exist_ok=True)
        paths = os.pathsep.join((str(SOURCE), str(HERE)))
        own = {"PYTHONPATH": paths, "TMPDIR": str(self.temporary), "HOME": str(self.home)}
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        self.environment = {**inherited, **own, "PYTHONUNBUFFERED": "1", **environment}

    @contextmanager
    def start(self, *arguments):
        """Starts the command as a session leader, and kills all its processes at the end."""
        with PreparedCommand(
            arguments, cwd=self.folder, env=self.environment, start_new_session=True
        ) as process:
            try:
                yield process
            finally:
                kill_session(process.pid)

    def run(self, *arguments):
        """Runs the command to its end; returns exit status, stdout and stderr."""
        with self.start(*arguments) as process:
            out, error = process.communicate(timeout=300)
        return process.returncode, out, error

    def run_and_list_imports(self, *arguments):
        """Runs the command in a new Python process.

        Returns:
            Exit status, stdout, stderr and the names of the imported modules.
        """
        modules = self.temporary / "modules"
        command = [sys.executable, "-c", PROGRAM, str(modules), *arguments]
        with start_session(command, cwd=self.folder, env=self.environment) as process:
            out, error = process.communicate(timeout=300)
        return process.returncode, out, error, set(modules.read_text().split())

    @property
    def remaining_files(self):
        """Names of the temporary files of Ray that remain."""
        return [path.name for path in self.temporary.iterdir() if "vaetune" in path.name]


@contextmanager
def start_session(command, **options):
    """Starts a process as a session leader, and kills all processes of its session at the end."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    ) as process:
        try:
            yield process
        finally:
            kill_session(process.pid)


@contextmanager
def ray_node(environment, temporary, *arguments):
    """Runs a node of a Ray cluster at another loopback address than 127.0.0.1.

    Yields:
        The session id of its processes.
    """
    ray = str(Path(sys.executable).parent / "ray")
    node = ("--node-ip-address=127.0.0.2", "--num-cpus=1", "--num-gpus=0")
    limits = ("--disable-usage-stats", "--object-store-memory=200000000")
    folder = f"--temp-dir={temporary}"
    with start_session(
        [ray, "start", *node, *limits, folder, *arguments], env=environment
    ) as process:
        assert process.wait(timeout=120) == 0
        yield process.pid


@contextmanager
def ray_head(environment, temporary):
    """Runs the head node of a Ray cluster.

    Yields:
        Its address, and the session id of its processes.
    """
    port, client = free_ports(2)
    ports = (f"--port={port}", f"--ray-client-server-port={client}")
    head = ("--head", "--include-dashboard=false", *ports)
    with ray_node(environment, temporary, *head) as session:
        yield f"127.0.0.2:{port}", session


def kill_session(session):
    """Kills all processes of a session."""
    for process in processes_of(session):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def processes_of(session):
    """The command lines of the running processes of a session, by process id."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                state, _, _, its_session, *_ = _stat(folder)
                if int(its_session) == session and state not in "ZX":
                    found[int(folder.name)] = _read(folder / "cmdline")
    return found


def _stat(folder):
    return (folder / "stat").read_text().rpartition(")")[2].split()


def _read(path):
    return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")


def environment_of(process):
    """The environment variables that a process was started with."""
    lines = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(line.split("=", 1) for line in lines if "=" in line)


def listening_on(processes):
    """The TCP addresses that processes listen on."""
    sockets = _listening_sockets()
    return {
        sockets[inode] for process in processes for inode in _sockets_of(process) & set(sockets)
    }


def _sockets_of(process):
    found = set()
    with suppress(OSError):
        for path in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                found.add(str(path.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


def _listening_sockets():
    found = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING:
                found[fields[9]] = _address(fields[1].partition(":")[0])
    return found


def _address(digits):
    """Reads an address as the kernel writes it: words of four bytes in the machine's byte order."""
    words = [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]
    packed = b"".join(struct.pack("=I", word) for word in words)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def free_ports(count):
    """Free ports of the loopback interface."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.2", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
