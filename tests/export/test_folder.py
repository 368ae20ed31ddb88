"""A new export replaces only an earlier export, completely or not at all."""

import json

import pytest

from vaetune.errors import ResultsError
from vaetune.export.folder import check_replaceable, replace_folder
from vaetune.study.exported import MANIFEST, PROGRAM


def write_export(folder, *names, listed=True):
    """Writes a folder with the manifest of an export.

    Args:
        folder: Path of the new folder.
        names: Names of its other files.
        listed: Whether the manifest lists the files.
    """
    folder.mkdir()
    for name in names:
        (folder / name).write_text("old")
    files = {"files": [MANIFEST, *names]} if listed else {}
    (folder / MANIFEST).write_text(json.dumps({"program": PROGRAM, **files}))
    return folder


def write_new(folder):
    (folder / "new.txt").write_text("new")
    return "written"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_missing_or_empty_folder_is_accepted(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "not there", "not/there/either"):
        check_replaceable(tmp_path / name)


def test_an_export_is_accepted(tmp_path):
    check_replaceable(write_export(tmp_path / "best", "vae.keras", "anything.onnx"))


def test_an_old_export_without_a_list_of_files_is_accepted(tmp_path):
    check_replaceable(write_export(tmp_path / "best", "vae.keras", "manifold.png", listed=False))


@pytest.mark.parametrize("listed", [True, False])
def test_an_export_with_added_files_is_refused(tmp_path, listed):
    folder = write_export(tmp_path / "best", "vae.keras", listed=listed)
    for name in ("a.tex", "b.tex", "c.tex", "d.tex"):
        (folder / name).write_text("years of work")
    with pytest.raises(ResultsError, match=r"did not write .*: a\.tex, b\.tex, c\.tex and more"):
        check_replaceable(folder)


def test_the_bytecode_cache_of_an_export_is_not_an_added_file(tmp_path):
    folder = write_export(tmp_path / "best", "vae.keras", "prepare.py")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "prepare.cpython-311.pyc").write_bytes(b"")
    check_replaceable(folder)


def test_a_file_added_to_a_subfolder_of_an_export_is_refused(tmp_path):
    folder = write_export(tmp_path / "best", "vae.keras")
    (folder / "saved_model").mkdir()
    (folder / "saved_model" / "notes.tex").write_text("years of work")
    with pytest.raises(ResultsError, match=r"vaetune did not write .*: saved_model/notes\.tex\."):
        check_replaceable(folder)


def test_a_file_added_while_an_export_is_written_is_kept(tmp_path):
    folder = write_export(tmp_path / "best", "old.txt")

    def write(fresh):
        (folder / "thesis.tex").write_text("years of work")
        return write_new(fresh)

    with pytest.raises(ResultsError, match="thesis"):
        replace_folder(folder, write)
    assert names(folder) == sorted([MANIFEST, "old.txt", "thesis.tex"])
    assert names(tmp_path) == ["best"]


@pytest.mark.parametrize("manifest", [None, "no json", "[]", "{}", '{"program": "another"}'])
def test_a_folder_that_is_not_an_export_is_refused(tmp_path, manifest):
    (tmp_path / "thesis.tex").write_text("years of work")
    if manifest is not None:
        (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(ResultsError, match="is not an export of vaetune and will not be overw"):
        check_replaceable(tmp_path)


def test_a_file_instead_of_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("years of work")
    with pytest.raises(ResultsError, match=r"file cannot be read: Not a directory"):
        check_replaceable(tmp_path / "file")


def test_a_folder_that_contains_the_working_directory_is_refused(tmp_path, monkeypatch):
    inside = tmp_path / "model" / "inside"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    for folder in (inside, tmp_path / "model", tmp_path):
        with pytest.raises(ResultsError, match="contains the working directory"):
            check_replaceable(folder)


def test_an_old_export_is_replaced_completely(tmp_path):
    folder = write_export(tmp_path / "best", "old.txt")
    assert replace_folder(folder, write_new) == "written"
    assert names(folder) == ["new.txt"]
    assert names(tmp_path) == ["best"]


def test_parent_folders_are_made_and_links_are_kept(tmp_path):
    manifest = json.dumps({"program": PROGRAM, "files": [MANIFEST]})
    replace_folder(tmp_path / "a" / "b", lambda folder: (folder / MANIFEST).write_text(manifest))
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    replace_folder(tmp_path / "link", lambda folder: (folder / "newer.txt").write_text(""))
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "a" / "b") == ["newer.txt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_export_keeps_the_old_one_and_leaves_no_files(tmp_path, error):
    def fail(folder):
        write_new(folder)
        raise error

    folder = write_export(tmp_path / "best", "old.txt")
    with pytest.raises((ResultsError, KeyboardInterrupt), match=r"^$|cannot be written: No space"):
        replace_folder(folder, fail)
    assert names(folder) == [MANIFEST, "old.txt"]
    assert names(tmp_path) == ["best"]


def test_an_export_interrupted_between_the_renames_keeps_the_old_one(tmp_path, monkeypatch):
    folder = write_export(tmp_path / "best", "old.txt")
    rename = type(folder).rename

    def interrupt_the_second_rename(path, target):
        if path.name.endswith("-new"):
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(type(folder), "rename", interrupt_the_second_rename)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(folder, write_new)
    assert names(folder) == [MANIFEST, "old.txt"]
    assert names(tmp_path) == ["best"]


def test_the_old_export_is_recovered_after_a_kill_between_the_renames(tmp_path):
    write_export(tmp_path / "best", "old.txt").rename(tmp_path / ".best.vaetune-old")
    with pytest.raises(ResultsError, match="cannot be written"):
        replace_folder(tmp_path / "best", lambda folder: (folder / "no" / "where").write_text(""))
    assert names(tmp_path / "best") == [MANIFEST, "old.txt"]
    assert names(tmp_path) == ["best"]


def test_a_folder_that_is_being_written_is_not_written_by_another_export(tmp_path):
    def write_while_another_begins(folder):
        with pytest.raises(ResultsError, match=r"Another process is exporting to .*best"):
            replace_folder(tmp_path / "best", lambda other: (other / "b.txt").write_text("b"))
        return write_new(folder)

    replace_folder(tmp_path / "best", write_while_another_begins)
    assert names(tmp_path / "best") == ["new.txt"]
    assert names(tmp_path) == ["best"], "no lock file is left next to the export"
    replace_folder(tmp_path / "next", write_new)  # The lock of another folder is another lock.


def test_without_a_folder_for_temporary_files_an_export_is_written(tmp_path, monkeypatch):
    missing = FileNotFoundError(2, "No usable temporary directory found")

    def fail():
        raise missing

    monkeypatch.setattr("tempfile.gettempdir", fail)
    assert replace_folder(tmp_path / "best", write_new) == "written"
