"""Compiled programs that are kept for later processes.

XLA writes a program into a folder and reads it from there, but it fails on an incomplete file, such
as one that another process is writing or that was left when a process was killed. So each process
has a folder of its own (see `device.import_tensorflow`), with links to the complete programs in the
user's cache. New programs are copied there under a name that contains a hash of their content and
one of the machine, since a program runs only on processors and cards like those it was compiled on.
A file next to the folder is locked while the process runs, so that others can remove both if it was
killed.
"""

import atexit
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock

import tensorflow as tf
from filelock import FileLock, Timeout

from vaetune.data import cache_folder

MAX_FILES = 200
"""Files that are kept, the newest ones. A search has up to three for each structure."""

_FLAG = re.compile(r"--tf_xla_persistent_cache_directory=(\S+)")

_CPU_INFO = Path("/proc/cpuinfo")

_OWN = re.compile(r"vaetune-programs-\d+-\w+")
"""Name of the folder of a process."""


class ProgramCache:
    """The compiled programs of this process and of earlier ones.

    Without permission to write, or without space, programs are not kept.

    Attributes:
        folder: Folder of all processes.
    """

    def __init__(self) -> None:
        self.folder = cache_folder("programs")
        self._own, self._machine = _own_folder(), f"{describe_machine()}-"
        self._is_loaded = False
        self._lock, self._compiling = Lock(), 0

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Provides earlier programs to what is compiled inside, and then keeps new ones.

        While another thread compiles, its file may be incomplete. So the last thread keeps all.
        """
        with self._lock:
            self.load()
            self._compiling += 1
        try:
            yield
        finally:
            with self._lock:
                self._compiling -= 1
                if not self._compiling:
                    self.save()

    def load(self) -> None:
        """Links the programs of earlier processes, once. Damaged ones are removed."""
        if self._own is None or self._is_loaded:
            return
        self._is_loaded = True
        with suppress(OSError):
            self._own.mkdir(exist_ok=True)
            atexit.register(_remove, self._own)
            self._running = FileLock(_lock_of(self._own))
            with suppress(Timeout):
                self._running.acquire(timeout=0)
            _remove_left(self._own.parent)
            for path in self.folder.glob(f"{self._machine}*"):
                name, _, digest = path.name.removeprefix(self._machine).rpartition(".")
                with suppress(OSError):
                    if _digest(path) == digest:
                        (self._own / name).symlink_to(path)
                    else:
                        path.unlink()

    def save(self) -> None:
        """Copies the programs that this process compiled to the folder of all processes."""
        if self._own is None:
            return
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self._own.iterdir():
                if not path.is_symlink():
                    self._publish(path)
            files = sorted(self.folder.iterdir(), key=lambda path: path.stat().st_mtime)
            for path in files[:-MAX_FILES]:
                path.unlink(missing_ok=True)

    def _publish(self, path: Path) -> None:
        """Keeps a program, unless another process kept the same one while this one compiled.

        Two compilations may round differently. Later processes all use the first one.
        """
        name = f"{self._machine}{path.name}"
        kept = next(self.folder.glob(f"{name}.*"), None)
        if kept is None:
            kept = self.folder / f"{name}.{_digest(path)}"
            with NamedTemporaryFile(dir=self.folder, prefix=".", delete=False) as copy:
                copy.write(path.read_bytes())
            Path(copy.name).replace(kept)
        path.unlink()
        path.symlink_to(kept)


_making = Lock()


def program_cache() -> ProgramCache:
    """Returns the cache of this process. Several threads may ask for it first."""
    with _making:
        return _make_cache()


@cache
def _make_cache() -> ProgramCache:
    return ProgramCache()


def describe_machine() -> str:
    """Returns a hash of the processor, the GPUs and the version of TensorFlow."""
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    known = [tf.__version__, platform.machine(), str(details)]
    with suppress(OSError):
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
        known += sorted({line for line in lines if line.startswith(("model name", "flags"))})
    return sha256("\n".join(known).encode()).hexdigest()[:8]


def _own_folder() -> Path | None:
    """Returns the folder that XLA uses in this process; None if the user chose another one."""
    found = _FLAG.search(os.environ.get("TF_XLA_FLAGS", ""))
    path = Path(found[1]) if found else None
    return path if path and _OWN.fullmatch(path.name) else None


def _lock_of(own: Path) -> Path:
    """Returns the file that a process locks as long as it uses its folder."""
    return own.with_name(f"{own.name}.lock")


def _remove_left(parent: Path) -> None:
    """Removes the folders of processes that were killed, in the folder of temporary files."""
    for lock in parent.glob("vaetune-programs-*.lock"):
        with suppress(Timeout, OSError), FileLock(lock).acquire(timeout=0):
            _remove(lock.with_suffix(""))


def _remove(own: Path) -> None:
    """Removes the folder of a process and its lock."""
    shutil.rmtree(own, ignore_errors=True)
    with suppress(OSError):
        _lock_of(own).unlink()


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()[:32]
