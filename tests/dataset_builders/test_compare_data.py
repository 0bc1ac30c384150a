"""Two data sets against each other, by their columns."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dataset_builders import phantom
from dataset_builders.build import build
from dataset_builders.built import BuiltError
from dataset_builders.compare import compare, counts
from dataset_builders.manifest import MANIFEST, file_sha256
from dataset_builders.parquet import write_shard

BC, FH = "BC/train-00000-of-00001.parquet", "FH/test-00000-of-00001.parquet"


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    phantom.write(folder, images=16, size=64, sources=["busi", "udiat", "hc18"])
    return folder


@pytest.fixture(scope="module")
def one(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "data"
    build(raw, out, allow_missing=True)
    return out


@pytest.fixture
def other(one, tmp_path):
    return Path(shutil.copytree(one, tmp_path / "data"))


def change(root: Path, name: str, number: int, **values: object) -> str:
    """Change columns of one row; its id."""
    rows = pq.read_table(root / name).to_pylist()
    rows[number] |= values
    write_shard(rows, root / name)
    renew(root, name)
    return str(rows[number]["id"])


def renew(root: Path, name: str) -> None:
    manifest = json.loads((root / MANIFEST).read_text())
    for entry in manifest["files"]:
        if entry["name"] == name:
            entry["sha256"] = file_sha256(root / name)
    (root / MANIFEST).write_text(json.dumps(manifest))


def test_a_copy_is_equal_byte_for_byte(one, other):
    found = compare(one, other)
    assert found.is_equal
    assert (found.other_bytes, found.found_later, dict(found.versions)) == ((), (), {})
    assert found.content[0] == found.content[1]
    assert found.images[0] == found.images[1] > 20


def test_equal_content_of_another_writer_is_equal(one, other):
    table = pq.read_table(other / BC)
    pq.write_table(table, other / BC, compression="gzip", row_group_size=3)
    renew(other, BC)
    manifest = json.loads((other / MANIFEST).read_text())
    manifest["versions"]["pyarrow"] = "1.0"
    (other / MANIFEST).write_text(json.dumps(manifest))
    found = compare(one, other)
    assert found.is_equal
    assert found.other_bytes == (BC,)
    assert found.versions == {"pyarrow": (found.versions["pyarrow"][0], "1.0")}


def test_no_picture_is_opened(one, other):
    rows = pq.read_table(other / BC).to_pylist()
    for row in rows:
        row["image"] = row["mask"] = None
    write_shard(rows, other / BC)
    assert compare(one, other).is_equal


@pytest.mark.parametrize(
    ("column", "value", "name"),
    [
        ("pixel_sha256", "0" * 64, "pixels"),
        ("mask_sha256", "0" * 64, "mask"),
        ("split", "test", "split"),
        ("rank", 99, "rank"),
        ("group", "busi/other", "group"),
        ("spacing_mm", [1.0, 2.0], "spacing_mm"),
        ("license", "CC0-1.0", "license"),
    ],
)
def test_a_differing_column_is_named_with_its_image(one, other, column, value, name):
    changed = change(other, BC, 2, **{column: value})
    found = compare(one, other)
    assert not found.is_equal
    assert found.differing == {name: (changed,)}
    assert found.only == ((), ())


def test_images_of_one_only_are_listed_both_ways(one, other):
    gone = pq.read_table(one / FH, columns=["id"])["id"].to_pylist()
    change(other, FH, 0, id="FH/hc18/new_HC")
    found = compare(one, other)
    assert found.only == ((gone[0],), ("FH/hc18/new_HC",))
    assert not found.is_equal


def test_duplicates_marked_later_leave_the_content_equal(one, other):
    marked = change(other, BC, 1, duplicate_of="BC/busi/benign (1)")
    found = compare(one, other)
    assert found.is_equal
    assert found.found_later == (marked,)


def test_a_source_more_moves_labels_but_no_image_between_the_sides(raw, one, tmp_path):
    build(raw, tmp_path / "few", sources=["busi"], allow_missing=True)
    found = compare(one, tmp_path / "few")
    assert found.only[1] == ()
    assert {name.split("/")[1] for name in found.only[0]} == {"udiat", "hc18"}
    assert set(found.differing) <= {"rank"}


def test_counts_are_by_task_and_source_in_the_order_of_the_tasks():
    ids = ["MD/hmc_qu/a/1", "BC/busi/a", "MD/camus/b", "BC/busi/c", "damaged"]
    assert list(counts(ids).items()) == [
        (("BC", "busi"), 2),
        (("MD", "camus"), 1),
        (("MD", "hmc_qu"), 1),
        (("damaged", ""), 1),
    ]


def test_a_damaged_shard_says_how_to_learn_more(one, other):
    (other / BC).write_bytes(b"PAR1")
    with pytest.raises(BuiltError, match="usbench verify-data"):
        compare(one, other)
