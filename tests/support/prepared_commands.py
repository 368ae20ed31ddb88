"""Commands in processes that have already imported TensorFlow and vaetune.

A server imports them once and forks a process for each command, so that a command starts within
milliseconds. Each process has its own signals, memory, environment and exit status. Tests of the
imports of a command, or of the start of Python, need a new Python process instead.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.reduction import DupFd
from threading import Thread, Timer
from unittest import mock

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["prepared_imports"])

TIMEOUT_S = 600.0
"""Seconds after which a command that prints to pipes is killed."""


class PreparedCommand:
    """A running command, with the methods of `subprocess.Popen` that tests use.

    Args:
        arguments: Arguments of the command.
        cwd: Working directory.
        env: All environment variables. Default: the variables of this process.
        log: File for the whole output. Default: the output goes to `stdout` and `stderr`.
        program: File of a Python program to run. Default: the command line of vaetune.
        start_new_session: Whether the process becomes a session leader.

    Attributes:
        stdout: Text stream of the standard output, or None with a log.
        stderr: Text stream of the standard error, or None with a log.
    """

    def __init__(self, arguments, cwd, env=None, log=None, program=None, start_new_session=False):
        pipes = [] if log else [os.pipe(), os.pipe()]
        self.stdout, self.stderr = [os.fdopen(start) for start, _ in pipes] or (None, None)
        outputs = [end for _, end in pipes] or [log.fileno()] * 2
        environment = dict(os.environ if env is None else env)
        argv = [str(one) for one in (program or "vaetune", *arguments)]
        settings = (argv, program is None, str(cwd), environment, start_new_session)
        self._process = _FORKS.Process(target=_run, args=(_Descriptors(*outputs), *settings))
        _start_server()
        self._process.start()
        for _, end in pipes:
            os.close(end)
        self.pid = self._process.pid

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.kill()
        self.wait()
        self.stdout.close()
        self.stderr.close()

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def wait(self, timeout=None):
        self._process.join(timeout)
        assert self.returncode is not None, f"the command is still running after {timeout} s"
        return self.returncode

    def communicate(self, timeout=None):
        """Waits for the end; returns stdout and stderr."""
        errors = []
        reading = Thread(target=lambda: errors.append(self.stderr.read()))
        reading.start()
        # Only one thread may ask for the exit status, because it can be read only once. So the
        # timer kills the process by its id.
        timer = Timer(timeout or TIMEOUT_S, os.kill, (self.pid, signal.SIGKILL))
        timer.start()
        out = self.stdout.read()
        reading.join()
        timer.cancel()
        self.wait(timeout)
        return out, errors[0]

    def finish(self, timeout=None):
        """Waits for the end; returns exit status, stdout and stderr."""
        out, error = self.communicate(timeout)
        return self.returncode, out, error

    def send_signal(self, number):
        # The process may have ended before the server reports its exit status.
        with suppress(ProcessLookupError):
            if self.poll() is None:
                os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def _start_server():
    """Starts the server with the import path of this process, unless it is running."""
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
        forkserver.ensure_running()


class _Descriptors:
    """Open files that become stdout and stderr of the process that unpickles this object."""

    def __init__(self, *descriptors):
        self._descriptors = descriptors

    def __getstate__(self):
        return [DupFd(one) for one in self._descriptors]

    def __setstate__(self, copies):
        for number, copy in enumerate(copies, start=1):
            descriptor = copy.detach()
            os.dup2(descriptor, number)
            os.close(descriptor)


def _run(outputs, argv, is_vaetune, folder, environment, is_session_leader):
    """Runs the command in a process that the server forked."""
    if is_session_leader:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    sys.stdout.reconfigure(line_buffering=True)
    sys.argv = argv
    from vaetune.cli import main

    try:
        main() if is_vaetune else runpy.run_path(argv[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()
