"""The folder of the user in which decoded images, and facts about image files, are kept.

Everything in it can be removed at any time; it is made again when it is needed.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vaetune.data.disk.images import DiskImages, Images
from vaetune.errors import ResultsError
from vaetune.files import write_atomically

_FORMAT = 1
"""Version of the facts. A fact of another version is computed again."""

_FACTS = "facts-"
"""Start of the names of files with facts."""


def cache_folder(name: str = "images") -> Path:
    """Returns a folder: `vaetune/NAME` in $XDG_CACHE_HOME, or in ~/.cache."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given else Path.home() / ".cache"
    return base / "vaetune" / name


def remember(
    name: str, images: Sequence[Images], compute: Callable[[], Any], details: str = ""
) -> Any:
    """Returns a fact about images. For unchanged images on the disk it is computed only once.

    Args:
        name: Name of the fact.
        images: Images of all splits that the fact is about.
        compute: Function that returns the fact: numbers, strings, lists and mappings of them.
        details: Everything else that the fact depends on.
    """
    on_disk = [each for each in images if isinstance(each, DiskImages)]
    if not on_disk or len(on_disk) < len(images):
        return compute()
    identities = json.dumps([name, details, *(each.identity for each in on_disk)])
    key = sha256(identities.encode()).hexdigest()
    file = on_disk[0].file
    path = cache_folder() / f"{_FACTS}{sha256(str(file.path).encode()).hexdigest()[:32]}.json"
    # A fact of the file as it was before has another key, so it is dropped.
    about = {"format": _FORMAT, "file": json.loads(json.dumps(file.identity))}
    known = _read_facts(path, about)
    if key in known:
        return known[key]
    known[key] = compute()
    with suppress(ResultsError, OSError):  # It is computed again the next time.
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(about | {"facts": known}).encode()
        write_atomically(path, lambda file: file.write(content), own_temporary=True)
    return known[key]


def _read_facts(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Returns the facts in a file, or none if they are about another state of the images."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        facts = found.pop("facts")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}
    return facts if found == about and isinstance(facts, dict) else {}


@dataclass(frozen=True)
class CachedFile:
    """A file in the cache.

    Attributes:
        path: The file.
        size: Its size in bytes.
        source: Folder or file that it was made from; empty if unknown.
    """

    path: Path
    size: int
    source: str = ""


def list_cache(folder: Path | None = None) -> list[CachedFile]:
    """Returns the files of a cache, the largest first: those with images before those with facts.

    Args:
        folder: Folder of the cache. Default: that of images.
    """
    found = _cached_files(folder or cache_folder())
    return sorted(found, key=lambda file: (-file.size, file.path.name))


def _cached_files(folder: Path) -> Iterator[CachedFile]:
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in folder.iterdir():
            with suppress(OSError):
                yield CachedFile(path, path.stat().st_size, _source_of(path))


def _source_of(path: Path) -> str:
    """Returns what a file was made from, as the JSON file of the same name says."""
    try:
        found = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return str(found.get("source") or found["file"][0])
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return ""


def _is_being_written(path: Path) -> bool:
    """Returns whether a process holds the lock of decoded images; see `folders`."""
    lock = path.with_name(f"{path.name.removeprefix('.').partition('.')[0]}.lock")
    if lock.exists():
        try:
            with FileLock(lock).acquire(timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # It belongs to another user.
            return False
    return False


def clear_cache(folder: Path | None = None) -> tuple[int, int]:
    """Removes the files of a cache, and returns their number and size in bytes.

    Decoded images that another process is writing now stay.

    Args:
        folder: Folder of the cache. Default: that of images.

    Raises:
        ResultsError: A file cannot be removed.
    """
    files = [file for file in list_cache(folder) if not _is_being_written(file.path)]
    for file in files:
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            raise ResultsError(f"{file.path} cannot be removed: {error.strerror}.") from error
    return len(files), sum(file.size for file in files)
