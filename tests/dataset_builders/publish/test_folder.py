"""The tree to upload: whole but for the withheld pictures, and provably the same data set."""

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dataset_builders.built import content_rows, read_manifest
from dataset_builders.content import content_sha256
from dataset_builders.errors import UsageError
from dataset_builders.licences import TERMS
from dataset_builders.parquet import CONTENT_COLUMNS, ROWS_PER_GROUP, SCHEMA
from dataset_builders.publish.contents import PublishError, pictures_withheld
from dataset_builders.publish.folder import assemble, tree_lines
from dataset_builders.publish.withheld import withheld_sources
from dataset_builders.sources import SOURCES
from dataset_builders.verify import verify

OPEN = {"hc18", "camus"}  # CC BY and CC BY-NC-SA, stated by the publishers
CLOSED = {
    "busi",
    "udiat",
    "hmc_qu",
    "mmotu",
    "tn3k",
    "tg3k",
    "ddti",
}  # nothing stated, or a signed agreement


def rows_of(folder: Path) -> list[dict]:
    return [
        row
        for path in sorted(folder.glob("*/*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def test_what_is_not_stated_is_not_re_hosted():
    assert withheld_sources(SOURCES) == CLOSED
    assert set(SOURCES) - CLOSED == OPEN


def test_withheld_rows_keep_all_but_their_pictures(published):
    """And the others keep theirs, byte for byte."""
    built, shown = rows_of(published.built), rows_of(published.folder)
    withheld = withheld_sources(SOURCES)
    assert len(built) == len(shown)
    for before, after in zip(built, shown, strict=True):
        assert {c: before[c] for c in CONTENT_COLUMNS} == {c: after[c] for c in CONTENT_COLUMNS}
        if before["source"] in withheld:
            assert after["image"] is after["mask"] is None
        else:
            assert (after["image"], after["mask"]) == (before["image"], before["mask"])
    assert {row["source"] for row in shown if row["image"] is None} == withheld
    assert {row["source"] for row in shown if row["image"]} == set(SOURCES) - withheld


def test_no_file_holds_a_withheld_picture(published):
    """Not in a dictionary page, nor in any other corner of a file."""
    sent = b"".join(path.read_bytes() for path in published.folder.rglob("*") if path.is_file())
    withheld = withheld_sources(SOURCES)
    pictures = {
        picture["bytes"]
        for row in rows_of(published.built)
        if row["source"] in withheld
        for picture in (row["image"], row["mask"])
    }
    assert len(pictures) > 500
    assert not [picture for picture in pictures if picture in sent]


def test_the_content_hash_follows_from_the_published_columns(published):
    manifest = read_manifest(published.folder)
    assert manifest["content_sha256"] == read_manifest(published.built)["content_sha256"]
    assert content_sha256(content_rows(published.folder, manifest)) == manifest["content_sha256"]


def test_the_manifest_is_of_the_published_files(published):
    manifest, before = read_manifest(published.folder), read_manifest(published.built)
    for entry in manifest["files"]:
        content = (published.folder / entry["name"]).read_bytes()
        assert len(content) == entry["bytes"]
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert set(manifest) - set(before) == {"withheld", "additions_sha256"}
    same = set(before) - {"files"}
    assert {name: manifest[name] for name in same} == {name: before[name] for name in same}
    lacking = pictures_withheld(manifest)
    assert set(lacking) == {"BC", "MD", "OT", "TG", "TN"}
    for task, sources in lacking.items():
        assert sources == {
            name: count for name, count in before["tasks"][task]["sources"].items()
            if name in withheld_sources(SOURCES)
        }  # fmt: skip
    assert pictures_withheld(before) == {}


def test_row_groups_suit_the_viewer(published):
    several = 0
    for path in published.folder.glob("*/*.parquet"):
        with pq.ParquetFile(path) as file:
            assert file.schema_arrow.equals(SCHEMA)
            assert file.schema_arrow.metadata == SCHEMA.metadata
            sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        assert all(size == ROWS_PER_GROUP == 100 for size in sizes[:-1])
        several += len(sizes) > 1
    assert several


def test_only_what_belongs_there_is_there(published, tmp_path):
    """The built folder may hold a cache and notes."""
    data = tmp_path / "data"
    shutil.copytree(published.built, data)
    (data / "cache").mkdir()
    (data / "cache/rows").write_bytes(b"pixels")
    (data / "BC/notes.txt").write_text("private")
    contents = assemble(data, tmp_path / "published", "lab/usbench", "v1.0.0")
    names = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for folder in (tmp_path / "published", published.folder)
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert not [name for name in names if "cache" in name or "notes" in name]
    for name, content in names.items():
        assert (tmp_path / "published" / name).read_bytes() == content
    lines = tree_lines(tmp_path / "published", contents)
    assert len(lines) < 40
    assert lines[-1].split()[2].replace(",", "") == str(sum(map(len, names.values())))


def test_a_shard_that_is_not_the_manifest_s_is_refused(published, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(published.built, data)
    shutil.copyfile(
        data / "FH/train-00000-of-00001.parquet", data / "FH/test-00000-of-00001.parquet"
    )
    with pytest.raises(PublishError, match=r"FH/test-.*not the file of manifest.json"):
        assemble(data, tmp_path / "out", "lab/usbench", "main")


def test_rows_without_the_content_hash_are_refused(published, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(published.built, data)
    manifest = read_manifest(data) | {"content_sha256": "0" * 64}
    (data / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PublishError, match="do not have the content hash"):
        assemble(data, tmp_path / "out", "lab/usbench", "main")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["tasks"]["BC"].update(train=9999), "task BC: train: 9999"),
        (lambda m: m.update(partial=[]), "partial"),
        (lambda m: m.update(missing={}), "provenance_sha256 differs"),
        (lambda m: m["sources"].pop("busi"), "'busi' has images, but is not there"),
        (lambda m: m.update(leakage={"duplicates": 3}), "leakage: duplicates: 3"),
    ],
)
def test_a_manifest_that_contradicts_the_shards_is_refused(published, tmp_path, change, said):
    data = tmp_path / "data"
    shutil.copytree(published.built, data)
    manifest = read_manifest(data)
    change(manifest)
    (data / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PublishError, match=said):
        assemble(data, tmp_path / "out", "lab/usbench", "main")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["BC/test.txt", "BC/foo.txt"])
def test_a_list_that_contradicts_the_shards_is_refused(published, tmp_path, name):
    data = tmp_path / "data"
    shutil.copytree(published.built, data)
    (data / "splits" / name).write_text("bogus\n")
    with pytest.raises(PublishError, match=rf"splits/{name}: .*`usbench verify-data"):
        assemble(data, tmp_path / "out", "lab/usbench", "main")
    shutil.rmtree(data / "splits/BC")
    with pytest.raises(PublishError, match=r"splits/BC/1_16.txt: cannot be read"):
        assemble(data, tmp_path / "out", "lab/usbench", "main")


def test_the_published_tree_is_proven(published):
    proof = verify(published.folder)
    assert proof.findings == proof.unsealed == ()
    rows = [row for row in rows_of(published.folder) if row["image"] is None]
    assert proof.withheld == len(rows) > 0


def test_what_is_withheld_has_the_terms_of_the_licences_page(published):
    for name, said in read_manifest(published.folder)["withheld"].items():
        assert said["licence"] == TERMS[name].stated
        assert f"| {said['licence']} |" in (published.folder / "LICENSES.md").read_text()


def test_what_was_published_already_is_not_published_again(published, tmp_path):
    with pytest.raises(PublishError, match="lacks the pictures of busi"):
        assemble(published.folder, tmp_path / "out", "lab/usbench", "main")
    with pytest.raises(UsageError, match="usbench build-data"):
        assemble(tmp_path, tmp_path / "out", "lab/usbench", "main")
