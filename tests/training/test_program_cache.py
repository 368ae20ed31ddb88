"""Compiled programs are kept whole, whatever happens to a process or to a file."""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep

import pytest

from vaetune import device
from vaetune.training.padded import cache as cache_module
from vaetune.training.padded.cache import ProgramCache

FLAG = "--tf_xla_persistent_cache_directory="


@pytest.fixture
def open_cache(tmp_path, monkeypatch):
    """Opens the cache as a new process does, and returns it with the folder of the process."""
    cache_module.describe_machine()  # TensorFlow reads its flags once: those before this test.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    opened = []

    def open_one():
        own = tmp_path / f"vaetune-programs-{len(opened)}-abcd"
        monkeypatch.setenv("TF_XLA_FLAGS", f"--other=1 {FLAG}{own}")
        opened.append(own)
        return ProgramCache(), own

    return open_one


def kept(cache):
    names = (path.name.partition("-")[2] for path in cache.folder.iterdir())
    return sorted(name.partition(".")[0] for name in names)


def test_the_next_process_finds_what_one_compiled(open_cache):
    first, own = open_cache()
    first.load()
    (own / "program.pb").write_bytes(b"compiled")
    first.save()
    second, own = open_cache()
    second.load()
    assert (own / "program.pb").read_bytes() == b"compiled"
    second.save()
    assert kept(second) == ["program"]


def test_of_two_processes_that_compile_the_same_program_the_first_one_keeps_it(open_cache):
    (first, own), (second, other) = open_cache(), open_cache()
    for cache, folder, content in ((first, own, b"first"), (second, other, b"second")):
        cache.load()
        (folder / "program.pb").write_bytes(content)
    first.save()
    second.save()
    assert kept(first) == ["program"]
    third, own = open_cache()
    third.load()
    assert (own / "program.pb").read_bytes() == b"first"


def test_damaged_programs_are_removed_and_unfinished_ones_are_never_seen(open_cache):
    first, own = open_cache()
    first.load()
    for name in ("whole.pb", "cut.pb"):
        (own / name).write_bytes(b"compiled")
    first.save()
    (cut,) = first.folder.glob("*-cut*")
    cut.write_bytes(b"comp")
    (first.folder / ".unfinished").write_bytes(b"co")
    second, own = open_cache()
    second.load()
    assert [path.name for path in own.iterdir()] == ["whole.pb"]
    assert not cut.exists()


def test_another_machine_neither_uses_nor_removes_programs(open_cache, monkeypatch):
    first, own = open_cache()
    first.load()
    (own / "program.pb").write_bytes(b"compiled")
    first.save()
    monkeypatch.setattr(cache_module, "describe_machine", lambda: "0badcafe")
    other, own = open_cache()
    other.load()
    assert not any(own.iterdir())
    assert kept(other) == ["program"]


def test_a_machine_is_known_by_its_processor_and_its_cards(tmp_path, monkeypatch):
    before = cache_module.describe_machine()
    assert cache_module.describe_machine() == before
    other = tmp_path / "cpuinfo"
    other.write_text("model name : another\nflags : sse\n")
    monkeypatch.setattr(cache_module, "_CPU_INFO", other)
    assert cache_module.describe_machine() != before
    with_cpu = cache_module.describe_machine()
    config = cache_module.tf.config
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: [kind])
    monkeypatch.setattr(config.experimental, "get_device_details", lambda gpu: {"device_name": "A"})
    assert cache_module.describe_machine() != with_cpu


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_running_one_stays(open_cache):
    (killed, left), (running, own) = open_cache(), open_cache()
    killed.load()
    killed._running.release()  # As the system does when a process ends.
    running.load()
    assert not left.exists()
    third, other = open_cache()
    third.load()
    assert {path.name for path in own.parent.glob("vaetune-programs-*")} == {
        f"{folder.name}{ending}" for folder in (own, other) for ending in ("", ".lock")
    }


def test_threads_that_ask_first_get_the_same_cache(monkeypatch):
    made, threads = [], 4
    together = Barrier(threads)

    def make():
        sleep(0.05)
        made.append(object())
        return made[-1]

    def ask(_):
        together.wait(10)
        return cache_module.program_cache()

    monkeypatch.setattr(cache_module, "_make_cache", functools.cache(make))
    with ThreadPoolExecutor(threads) as pool:
        assert len(set(pool.map(ask, range(threads)))) == 1
    assert len(made) == 1


def test_only_the_newest_programs_are_kept(open_cache, monkeypatch):
    monkeypatch.setattr(cache_module, "MAX_FILES", 2)
    cache, own = open_cache()
    cache.load()
    for number in range(3):
        (own / f"p{number}.pb").write_bytes(b"%d" % number)
        cache.save()
        (newest,) = cache.folder.glob(f"*-p{number}*")
        os.utime(newest, (number, number))
    assert kept(cache) == ["p1", "p2"]


def test_without_a_place_nothing_is_kept_and_nothing_fails(open_cache, tmp_path, monkeypatch):
    cache, own = open_cache()
    cache.load()
    (own / "program.pb").write_bytes(b"compiled")
    (tmp_path / "cache").write_text("a file")
    cache.save()
    monkeypatch.setenv("TF_XLA_FLAGS", f"{FLAG}{tmp_path / 'chosen'}")
    other = ProgramCache()
    other.load()
    other.save()
    assert not (tmp_path / "chosen").exists()


def test_each_process_has_a_folder_of_its_own(monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--other=1")
    device._keep_compiled_programs()
    parent = os.environ["TF_XLA_FLAGS"]
    device._keep_compiled_programs()  # A worker inherits the flags.
    child = os.environ["TF_XLA_FLAGS"]
    assert child != parent
    for flags in (parent, child):
        assert flags.split()[0] == "--other=1"
        assert flags.count(FLAG) == 1
    monkeypatch.setenv("TF_XLA_FLAGS", f"{FLAG}/chosen")
    device._keep_compiled_programs()
    assert os.environ["TF_XLA_FLAGS"] == f"{FLAG}/chosen"


def test_programs_are_kept_when_no_thread_writes_them_any_more(open_cache):
    cache, own = open_cache()
    with cache.compiling():
        with cache.compiling():
            (own / "program.pb").write_bytes(b"compiled")
        assert not cache.folder.exists()
    assert kept(cache) == ["program"]
