"""`vaetune cache`: decoded images and compiled programs are listed and removed."""

import pytest
from picture_folders import noise, save
from typer.testing import CliRunner

from vaetune.cli.app import app
from vaetune.data.sources import load_images


@pytest.fixture
def lines_of():
    """A function that runs a command that must succeed, and returns the lines of stdout."""

    def run(*arguments):
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout.splitlines()

    return run


def test_an_empty_cache_is_listed_and_cleared(lines_of, own_cache):
    programs = own_cache.with_name("programs")
    assert lines_of("cache") == [
        f"0 files in {own_cache}, 0.0 MB.",
        f"0 compiled programs in {programs}, 0.0 MB.",
    ]
    assert lines_of("cache", "--clear") == [
        f"0 files removed from {own_cache}, 0.0 MB.",
        f"0 compiled programs removed from {programs}, 0.0 MB.",
    ]


def test_compiled_programs_are_counted_and_removed(lines_of, own_cache):
    programs = own_cache.with_name("programs")
    programs.mkdir(parents=True)
    for name in "ab":
        (programs / f"xla_compile_cache_{name}.pb").write_bytes(bytes(1_500_000))
    assert lines_of("cache")[1:] == [f"2 compiled programs in {programs}, 3.0 MB."]
    removed = lines_of("cache", "--clear")[1:]
    assert removed == [f"2 compiled programs removed from {programs}, 3.0 MB."]
    assert list(programs.iterdir()) == []


def test_decoded_images_are_listed_with_their_folder_and_removed(lines_of, own_cache, tmp_path):
    folder = save(tmp_path / "set", noise(24, 99, 99))
    load_images(folder, {"from_disk": True})
    first, *_, last, _ = lines_of("cache")
    assert first.split()[:2] == ["0.2", "MB"]
    assert first.endswith(f".npy  {folder}")
    assert last == f"4 files in {own_cache}, 0.2 MB."
    removed, _ = lines_of("cache", "--clear")
    assert removed == f"4 files removed from {own_cache}, 0.2 MB."
    assert list(own_cache.iterdir()) == []


def test_check_announces_the_decoding_and_its_size_once(lines_of, tmp_path, monkeypatch, own_cache):
    folder = save(tmp_path / "set", noise(24, 99, 99))
    monkeypatch.setattr("vaetune.data.disk.arrays.available_memory", lambda: 24 * 99 * 99)
    monkeypatch.chdir(tmp_path)
    first, second, *_ = lines_of("check", "--dataset", str(folder))
    assert first.startswith(f"24 images are decoded once into {own_cache}")
    assert first.endswith("(0.2 MB). `vaetune cache --clear` removes it.")
    assert "check of the images set" in second
    again, *_ = lines_of("check", "--dataset", str(folder))
    assert again == second
