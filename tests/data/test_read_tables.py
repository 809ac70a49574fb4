"""CSV, TSV and Parquet: roles of the columns, exact numbers, image paths, and cells that cannot be used."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datafiles import class_files, write_folder
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from thalweg.data import columns, load
from thalweg.errors import DataError, UsageError

X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
Y = ["cat", "dog", "cat", "dog", "cow, wild", "cat"]


def write(path: Path, table: dict[str, list[Any]]) -> Path:
    """Write a table in the format of the path's ending, with the standard library or pyarrow."""
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(table), path)
        return path
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t" if ".tsv" in path.name else ",")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def numeric(labels: list[Any] = Y, name: str = "label", x: np.ndarray = X) -> dict[str, list[Any]]:
    columns = {f"f{i}": x[:, i].tolist() for i in range(x.shape[1])}
    return {"f0": columns.pop("f0"), name: labels, **columns}


ENDINGS = ["a.csv", "a.tsv", "a.csv.gz", "a.tsv.gz", "a.parquet", "A.CSV"]


@pytest.mark.parametrize("name", ENDINGS)
def test_numbers_come_back_exactly(tmp_path: Path, name: str) -> None:
    data = load(write(tmp_path / name, numeric()))
    np.testing.assert_array_equal(data.train.features, X)
    assert data.train.features.dtype == np.float32
    assert data.feature_names == ("f0", "f1", "f2")
    assert data.classes == ("cat", "cow, wild", "dog")
    assert [data.classes[i] for i in data.train.labels] == Y
    assert data.name.lower() == "a"


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
@pytest.mark.parametrize("column", ["label", "Labels", "CLASS", "target", "y"])
def test_the_label_column_is_found_by_its_name(tmp_path: Path, name: str, column: str) -> None:
    data = load(write(tmp_path / name, numeric([10, 2, 2, 10, 2, 1], column)))
    assert data.classes == ("1", "2", "10")
    assert data.feature_names == ("f0", "f1", "f2")


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_the_label_column_by_argument(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, numeric(name="species"))
    assert load(path, label="species").classes == ("cat", "cow, wild", "dog")
    with pytest.raises(DataError, match=r"no column is named label, .*label=.*columns are f0, species, f1, f2"):
        load(path)
    with pytest.raises(DataError, match=r"no column 'specis' .did you mean 'species'."):
        load(path, label="specis")
    two = write(tmp_path / f"two{name[1:]}", {**numeric(), "class": [1, 2] * 3})
    with pytest.raises(DataError, match="'label' and 'class' could each be the label"):
        load(two)
    assert load(two, label="label").feature_names == ("f0", "f1", "f2", "class")


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_table_without_labels(tmp_path: Path, name: str) -> None:
    table = numeric()
    del table["label"]
    data = load(write(tmp_path / name, table), labelled=False)
    np.testing.assert_array_equal(data.train.features, X)
    assert data.train.labels is None
    assert load(write(tmp_path / name, numeric()), labelled=False).train.labels is not None


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_split_column(tmp_path: Path, name: str) -> None:
    table = {**numeric(), "Split": ["train", "test", "Train", "val", "test", "training"]}
    data = load(write(tmp_path / name, table))
    np.testing.assert_array_equal(data.train.features, X[[0, 2, 5]])
    np.testing.assert_array_equal(data.validation.features, X[[3]])
    np.testing.assert_array_equal(data.test.features, X[[1, 4]])
    assert [data.classes[i] for i in data.test.labels] == ["dog", "cow, wild"]
    table["Split"][3] = "holdout"
    with pytest.raises(DataError, match="row 4: split is 'holdout'; write train, val or test"):
        load(write(tmp_path / name, table))
    table["Split"] = ["test"] * 6
    with pytest.raises(DataError, match="no row with train"):
        load(write(tmp_path / name, table))


@pytest.mark.parametrize("ending", ["csv", "tsv.gz", "parquet"])
def test_a_folder_of_tables(tmp_path: Path, ending: str) -> None:
    write(tmp_path / f"train.{ending}", numeric())
    table = numeric(x=X + 1)
    write(tmp_path / f"test.{ending}", dict(reversed(table.items())))  # columns are matched by name
    (tmp_path / "README.md").write_text("text")
    data = load(tmp_path)
    np.testing.assert_array_equal(data.train.features, X)
    np.testing.assert_array_equal(data.test.features, X + 1)
    assert data.test.labels.tolist() == data.train.labels.tolist()
    write(tmp_path / f"validation.{ending}", numeric(x=X[:, :2]))
    with pytest.raises(DataError, match=r"validation.*column 'f2' is not in both"):
        load(tmp_path)
    write(tmp_path / f"validation.{ending}", {**numeric(), "split": ["train"] * 6})
    with pytest.raises(DataError, match="column 'split' is not in both"):
        load(tmp_path)
    write(tmp_path / f"val.{ending}", numeric())
    with pytest.raises(DataError, match="both hold validation"):
        load(tmp_path)


def test_a_split_column_in_split_files(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", {**numeric(), "split": ["train"] * 6})
    with pytest.raises(DataError, match="are splits already"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_image_paths(tmp_path: Path, name: str) -> None:
    files, pixels = class_files({"photos/x": 3, "photos/y": 2})
    write_folder(tmp_path, files)
    paths = sorted(files, reverse=True)
    table = {"image": paths, "label": [1, 2, 1, 2, 1], "split": ["test", "train", "train", "train", "test"]}
    data = load(write(tmp_path / name, table))
    assert data.train.names == tuple(paths[1:4])
    for split in (data.train, data.test):
        for row, file in enumerate(split.names):
            np.testing.assert_array_equal(split.features[row], pixels[file])
    assert data.train.labels.tolist() == [1, 0, 1]
    assert data.is_image
    assert load(tmp_path / name, image_size=3).feature_shape == (3, 3, 3)
    (tmp_path / paths[2]).write_bytes(b"bad")
    (tmp_path / paths[3]).unlink()
    with pytest.raises(DataError, match=f"image '{paths[2]}'"):
        load(tmp_path / name)
    skipped = load(tmp_path / name, skip_bad=True)
    assert [one.name for one in skipped.skipped] == paths[2:4]
    assert skipped.train.names == (paths[1],)
    assert skipped.train.labels.tolist() == [1]


@pytest.mark.parametrize("path", ["../x.png", "/etc/x.png", "a/../../x.png", "C:\\x.png", "..\\x.png", " "])
def test_image_paths_stay_in_the_tables_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "inner").mkdir()
    write_folder(tmp_path, class_files({".": 1})[0])
    table = write(tmp_path / "inner" / "a.csv", {"file": [path], "label": ["a"]})
    with pytest.raises(DataError, match=r"row 1: the image path .* leads out of the table's folder"):
        load(table)


def test_an_image_column_beside_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has the image column 'path' and other columns .path, width."):
        load(write(tmp_path / "a.csv", {"path": ["a"], "width": [1], "label": [1]}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,label\n", "has a header but no rows"),
        ("1.5,2,3\n4,5,6\n", "first line holds numbers"),
        ("a;label\n1;2\n", "separated by semicolons"),
        ("a,a,label\n1,2,3\n", "two columns are named 'a'"),
        (",a,label\n0,2,3\n", r"column 1 has no name.*to_csv\(index=False\)"),
        ("label\n1\n", "has no feature columns"),
        ("a,label\n1,x\nabc,y\n", "line 3, column 'a': is 'abc', not a number"),
        ("a,b,label\n1,2,x\n\n3,,y\n", "line 4, column 'b': is empty"),
        ("a,label\n1,x\n1,2,3\n", "line 3 has 3 cells, the header has 2"),
        ("a,label\n1\n", "line 2 has 1 cells, the header has 2"),
        ("a,b,label\n1,2,x\n3,nan,y\n", r"1 entries are not finite.*the first is nan in row 1, feature 1 \(b\)"),
        ("a,label\n1,x\n1e39,y\n", r"row 1, feature 0 \(a\)"),
        ("a,label\n1,x\n2,\n", "example 1 .counted from 0. is empty"),
        ("a,label\n1,0.5\n2,0.7\n", "0.5 is no whole number"),
        ('a,label\n1,"x\n', "line 2"),
        ('a,label\n1,"x"y\n', "line 2"),
        ('a,label\n"' + "1" * 200_000 + '",x\n', "line 2: field larger than field limit"),
        ('a,label\n1,"x\ny"\n,z\n', "line 4, column 'a': is empty"),
    ],
)
def test_text_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "a.csv")


def test_quotes(tmp_path: Path) -> None:
    """Commas, line ends and doubled quotes inside quotes; numbers in quotes; lines with and without them."""
    text = '"a",label\n"1",x\n2,"x, ""y""\r\nz"\n\n3,x\n"4","x"'
    (tmp_path / "a.csv").write_bytes(text.encode())
    data = load(tmp_path / "a.csv")
    assert data.train.features.tolist() == [[1], [2], [3], [4]]
    assert [data.classes[i] for i in data.train.labels] == ["x", 'x, "y"\r\nz', "x", "x"]


def test_encodings(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("\ufeffa,label\n1,é\n2,b\n".encode())
    assert load(tmp_path / "a.csv").classes == ("b", "é")
    (tmp_path / "a.csv").write_bytes("a,label\n1,x\n1,é\n2,b\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"is not UTF-8 text .*; save it as UTF-8"):
        load(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"a,label\r\n1,x\r\n2,y\r\n")
    assert load(tmp_path / "a.csv").train.features.tolist() == [[1], [2]]
    (tmp_path / "a.csv").write_bytes(b"0,1,label\n1,2,x\n")
    assert load(tmp_path / "a.csv").feature_names == ("0", "1")


def test_truncated_gzip_and_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv.gz", numeric())
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            load(path)
    monkeypatch.setattr(columns, "_MAX_LINE", 2**16)
    path.write_bytes(gzip.compress(b"1" * 2**20))
    with pytest.raises(DataError, match="decompression bomb"):
        load(path)
    monkeypatch.setattr(columns, "_FREE_TEXT", 2**16)
    path.write_bytes(gzip.compress(b"a,label\n" + b"1,1\n" * 2**20))
    with pytest.raises(DataError, match="decompression bomb"):
        load(path)


def test_parquet_types(tmp_path: Path) -> None:
    from decimal import Decimal

    table = {
        "i": pa.array([1, 2, 3], pa.int8()),
        "f": pa.array([0.5, 1.5, 2.5], pa.float16()),
        "b": [True, False, True],
        "d": [Decimal("1.25"), Decimal("2.50"), Decimal("3.75")],
        "label": pa.array(["x", "y", "x"]).dictionary_encode(),
    }
    parquet.write_table(pa.table(table), tmp_path / "a.parquet")
    data = load(tmp_path / "a.parquet")
    assert data.train.features.tolist() == [[1, 0.5, 1, 1.25], [2, 1.5, 0, 2.5], [3, 2.5, 1, 3.75]]
    assert data.train.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 3), pa.large_list(pa.float64())])
def test_parquet_lists_are_vectors(tmp_path: Path, kind: pa.DataType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_BATCH_ROWS", 4)
    table = pa.table({"embedding": pa.array(X.tolist(), kind), "label": Y})
    parquet.write_table(table, tmp_path / "train.parquet")
    data = load(tmp_path / "train.parquet")
    np.testing.assert_array_equal(data.train.features, X)
    assert data.feature_names == ("embedding_0", "embedding_1", "embedding_2")
    parquet.write_table(table, tmp_path / "test.parquet")
    assert len(load(tmp_path).test) == 6


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"f": [1.0, None], "label": [1, 2]}, "column 'f' has 1 empty cells"),
        ({"f": [1.0, 2.0], "label": [1, None]}, "column 'label' has 1 empty cells"),
        ({"f": ["a", "b"], "label": [1, 2]}, "column 'f' holds string; features are numbers"),
        ({"f": [1.0, 2.0], "g": [[1], [2]], "label": [1, 2]}, r"column 'g' holds list"),
        ({"f": [[1.0], [2.0, 3.0]], "label": [1, 2]}, "differ in length"),
        ({"f": [[1.0], None], "label": [1, 2]}, "column 'f' has 1 empty cells"),
        ({"f": [[1.0], [None]], "label": [1, 2]}, "column 'f' has 1 empty cells"),
        ({"f": [float("nan"), 1.0], "label": [1, 2]}, r"nan in row 0, feature 0 \(f\)"),
        ({"f": [1e300, 1.0], "label": [1, 2]}, r"row 0, feature 0 \(f\)"),
        ({"f": [1.0, 2.0], "label": [0.5, 1.0]}, "0.5 is no whole number"),
        ({"f": [1.0, 2.0], "label": [[1], [2]]}, "labels"),
        ({"f": pa.array([], pa.float32()), "label": pa.array([], pa.int32())}, "no rows"),
    ],
)
def test_parquet_that_cannot_be_used(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    parquet.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        load(tmp_path / "a.parquet")


def test_parquet_without_pyarrow_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", numeric())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install 'thalweg\[parquet\]'"):
        load(path)


def test_damaged_parquet(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", numeric())
    whole = path.read_bytes()
    for length in range(0, len(whole), 50):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a.parquet"):
            load(path)


@given(st.lists(st.tuples(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(0, 3)), min_size=1))
def test_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, int]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_text("value,label\n" + "".join(f"{value!r},{label}\n" for value, label in rows))
    data = load(path)
    assert data.train.features[:, 0].tolist() == [value for value, _ in rows]
    assert [int(data.classes[i]) for i in data.train.labels] == [label for _, label in rows]
