"""Tables of latent variables have exact values and are written completely or not at all."""

import csv
import importlib.util
import weakref

import numpy as np
import pandas as pd
import pytest

from vaetune.errors import ResultsError
from vaetune.export import tables
from vaetune.export.tables import ENDINGS, TableFacts, check_table, write_scores, write_table

FACTS = TableFacts(
    names=np.array(["a.png", 'b,"c".png', "d/é.png", "e.png", "f.png"]),
    splits=np.array(["train", "test", "train", "validation", "train"]),
    labels=np.array([1, 0, -1, 1, 1]),
    class_names=("cat", "dog"),
)
Z = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
Z[0] = [0.1, -0.0, 1e-30]
U = np.arange(5 * 2 * 2 * 2, dtype=np.float32).reshape(5, 2, 2, 2)


def parts(sizes=(2, 2, 1)):
    at = 0
    for size in sizes:
        yield {"z_mean": Z[at : at + size], "u_2_mean": U[at : at + size]}
        at += size


def test_an_archive_holds_an_array_for_each_name(tmp_path):
    assert write_table(tmp_path / "z.npz", FACTS, parts()) == 5
    with np.load(tmp_path / "z.npz", allow_pickle=False) as found:
        assert set(found) == {"names", "splits", "labels", "class_names", "z_mean", "u_2_mean"}
        assert found["z_mean"].dtype == np.float32
        np.testing.assert_array_equal(found["z_mean"], Z)
        np.testing.assert_array_equal(found["u_2_mean"], U)
        assert found["names"].tolist() == FACTS.names.tolist()
        assert found["splits"].tolist() == FACTS.splits.tolist()
        assert found["labels"].tolist() == FACTS.labels.tolist()
        assert found["class_names"].tolist() == ["cat", "dog"]


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".CSV"])
def test_a_table_has_a_row_for_each_image_and_exact_values(tmp_path, ending):
    path = tmp_path / f"z{ending}"
    assert write_table(path, FACTS, parts()) == 5
    frame = pd.read_parquet(path) if ending == ".parquet" else pd.read_csv(path)
    u_columns = [f"u_2_mean_{k}" for k in range(8)]
    z_columns = [f"z_mean_{k}" for k in range(3)]
    assert [*frame] == ["name", "split", "label", "class_name", *z_columns, *u_columns]
    assert frame["name"].tolist() == FACTS.names.tolist()
    assert frame["split"].tolist() == FACTS.splits.tolist()
    assert frame["label"].fillna(-1).tolist() == FACTS.labels.tolist()
    assert frame["class_name"].fillna("").tolist() == ["dog", "cat", "", "dog", "dog"]
    np.testing.assert_array_equal(frame[z_columns].to_numpy(np.float32), Z)
    np.testing.assert_array_equal(frame[u_columns].to_numpy(np.float32), U.reshape(5, -1))


@pytest.mark.parametrize("ending", ENDINGS)
def test_images_without_splits_and_labels_have_names_and_values(tmp_path, ending):
    path = tmp_path / f"z{ending}"
    write_table(path, TableFacts(np.arange(5)), parts())
    if ending == ".npz":
        with np.load(path) as found:
            assert (set(found), found["names"].tolist()) == (
                {"names", "z_mean", "u_2_mean"},
                [*range(5)],
            )
        return
    frame = pd.read_parquet(path) if ending == ".parquet" else pd.read_csv(path)
    assert [*frame][:2] == ["name", "z_mean_0"]
    assert frame["name"].tolist() == [*range(5)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_written_batches_are_released_from_memory(tmp_path, ending, monkeypatch):
    monkeypatch.setattr(tables, "_ROWS", 20)
    alive = []

    def batches():
        for _ in range(40):
            values = np.zeros((10, 4), np.float32)
            alive.append(weakref.ref(values))
            yield {"z_mean": values}
            del values
            assert sum(each() is not None for each in alive) <= 4

    assert write_table(tmp_path / f"z{ending}", TableFacts(np.arange(400)), batches()) == 400
    assert len(alive) == 40


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("reason", [KeyboardInterrupt, ResultsError])
def test_an_interrupted_table_keeps_the_earlier_one(tmp_path, ending, reason):
    path = tmp_path / f"z{ending}"

    def interrupted_parts():
        yield from parts((2, 2))
        raise reason

    for before in (None, b"the earlier one"):
        if before:
            path.write_bytes(before)
        with pytest.raises(reason):
            write_table(path, FACTS, interrupted_parts())
        assert [each.name for each in tmp_path.iterdir()] == [path.name] * bool(before)
        assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("ending", ENDINGS)
def test_only_tables_of_vaetune_are_overwritten(tmp_path, ending):
    path = tmp_path / f"z{ending}"
    check_table(path)
    write_table(path, FACTS, parts())
    check_table(path)
    for content in (b"", b"name,price\nshoe,3\n", b"PK\3\4 no archive"):
        path.write_bytes(content)
        with pytest.raises(ResultsError, match="is not a table of latent variables and will not"):
            check_table(path)


def test_an_archive_of_images_is_never_overwritten(tmp_path):
    np.savez(tmp_path / "images.npz", x=U)
    with pytest.raises(ResultsError, match="will not be overwritten"):
        check_table(tmp_path / "images.npz")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("z.txt", r"z\.txt is not a name of a table: expected one that ends in \.npz, \.csv or"),
        ("z", "is not a name of a table"),
        ("no/z.csv", r"There is no folder .*no\. Create it"),
        (
            f"{'z' * 250}.csv",
            "cannot be written: File name too long. Choose another file with",
        ),
    ],
)
def test_a_file_name_that_cannot_be_written_is_refused(tmp_path, name, message):
    with pytest.raises(ResultsError, match=message):
        check_table(tmp_path / name)


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pyarrow" else found(name)
    )
    with pytest.raises(ResultsError, match=r"needs pyarrow.*pip install 'vaetune\[parquet\]'"):
        check_table(tmp_path / "z.parquet")
    check_table(tmp_path / "z.csv")


def test_a_table_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / ".z.csv.tmp").mkdir()
    with pytest.raises(ResultsError, match=r"z\.csv cannot be written: "):
        write_table(tmp_path / "z.csv", FACTS, parts())


def test_csv_lines_end_without_a_carriage_return(tmp_path):
    write_table(tmp_path / "z.csv", FACTS, parts())
    content = (tmp_path / "z.csv").read_bytes()
    assert content.count(b"\r") == 0
    assert len([*csv.reader(content.decode().splitlines())]) == 6


SCORES = {
    "score": np.array([1 / 3, -0.0, np.inf, 1e300, 2.0]),
    "flagged": np.array([True, False, True, False, True]),
}


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_of_scores_has_exact_values(tmp_path, ending):
    path = tmp_path / f"s{ending}"
    write_scores(path, FACTS, SCORES)
    frame = pd.read_parquet(path) if ending == ".parquet" else pd.read_csv(path)
    assert [*frame] == ["name", "split", "label", "class_name", "score", "flagged"]
    assert frame["name"].tolist() == FACTS.names.tolist()
    assert frame["label"].fillna(-1).tolist() == FACTS.labels.tolist()
    for name, values in SCORES.items():
        assert frame[name].dtype == values.dtype
        assert frame[name].tolist() == values.tolist()


def test_an_archive_of_scores_holds_an_array_for_each_column(tmp_path):
    write_scores(tmp_path / "s.npz", FACTS, SCORES)
    with np.load(tmp_path / "s.npz", allow_pickle=False) as found:
        facts = {"names", "splits", "labels", "class_names"}
        assert set(found) == facts | {"score", "flagged"}
        np.testing.assert_array_equal(found["score"], SCORES["score"])
        assert found["flagged"].dtype == bool


@pytest.mark.parametrize("ending", ENDINGS)
def test_tables_of_scores_and_of_latents_do_not_replace_each_other(tmp_path, ending):
    path = tmp_path / f"table{ending}"
    write_scores(path, FACTS, SCORES)
    check_table(path, "scores")
    with pytest.raises(ResultsError, match="is not a table of latent variables and will not"):
        check_table(path)
    write_table(path, FACTS, parts())
    with pytest.raises(ResultsError, match="is not a table of scores and will not"):
        check_table(path, "scores")
