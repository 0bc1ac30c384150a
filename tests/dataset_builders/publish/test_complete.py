"""A published data set made whole from one's own archives: the same bytes, or a clear error."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from dataset_builders import phantom
from dataset_builders.build import build
from dataset_builders.built import read_manifest
from dataset_builders.compare import compare
from dataset_builders.leakage.findings import search
from dataset_builders.leakage.mark import mark
from dataset_builders.leakage.pictures import of_data_set
from dataset_builders.publish.complete import CompleteError, complete
from dataset_builders.publish.folder import assemble
from dataset_builders.publish.withheld import withheld_sources
from dataset_builders.sources import SOURCES
from dataset_builders.verify import verify


@pytest.fixture(scope="module")
def withheld_raw(tmp_path_factory):
    """The archives of withheld sources alone, as a user has them who needs no others."""
    raw = tmp_path_factory.mktemp("withheld") / "raw"
    phantom.write(raw, images=70, size=64, sources=sorted(withheld_sources(SOURCES)))
    return raw


def test_the_completed_data_set_is_the_built_one(published, withheld_raw, tmp_path):
    """Byte for byte: shards, lists and manifest."""
    done = []
    complete(
        published.folder, withheld_raw, tmp_path / "data", progress=lambda *said: done.append(said)
    )
    for path in published.built.rglob("*"):
        if path.is_file():
            same = tmp_path / "data" / path.relative_to(published.built)
            assert same.read_bytes() == path.read_bytes(), path
    assert compare(published.folder, published.built).is_equal
    assert [total for _, seen, total in done if seen == total]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_data_set_with_clean_lists_is_completed_with_them(tmp_path):
    """`leakage --write`, publication, completion: byte for byte, and proven."""
    raw, data = tmp_path / "raw", tmp_path / "data"
    phantom.write(raw, images=16, size=64, sources=["busi", "hc18"])
    build(raw, data, sources=["busi", "hc18"], allow_missing=True)
    mark(data, search(of_data_set(data)))
    assemble(data, tmp_path / "published", "lab/usbench", "v1.0.0")
    complete(tmp_path / "published", raw, tmp_path / "made")
    for folder in ("published", "made"):
        proof = verify(tmp_path / folder)
        assert proof.findings == proof.unsealed == ()
    assert (tmp_path / "made/splits/BC/clean.txt").is_file()
    for path in data.rglob("*"):
        if path.is_file():
            same = tmp_path / "made" / path.relative_to(data)
            assert same.read_bytes() == path.read_bytes()


def test_an_unknown_withheld_source_is_one_clear_error(published, withheld_raw, tmp_path):
    shutil.copytree(published.folder, tmp_path / "published")
    manifest = read_manifest(published.folder)
    manifest["withheld"]["nobody"] = manifest["withheld"]["busi"]
    (tmp_path / "published/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CompleteError, match="withholds nobody"):
        complete(tmp_path / "published", withheld_raw, tmp_path / "data")


def test_missing_archives_are_named_and_nothing_is_written(published, withheld_raw, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(withheld_raw, raw)
    shutil.rmtree(raw / "udiat")
    with pytest.raises(CompleteError, match=r"(?s)udiat: 70 images; to get them.*--allow-missing"):
        complete(published.folder, raw, tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_the_rest_is_restored_where_that_is_allowed(published, withheld_raw, tmp_path):
    """In two steps, as archives arrive."""
    raw = tmp_path / "raw"
    shutil.copytree(withheld_raw, raw)
    shutil.move(raw / "udiat", tmp_path / "udiat")
    complete(published.folder, raw, tmp_path / "half", allow_missing=True)
    assert set(read_manifest(tmp_path / "half")["withheld"]) == {"udiat"}
    shutil.move(tmp_path / "udiat", raw / "udiat")
    complete(tmp_path / "half", raw, tmp_path / "data")
    assert (tmp_path / "data/manifest.json").read_bytes() == (
        published.built / "manifest.json"
    ).read_bytes()


def test_other_pictures_under_the_same_names_are_refused(published, tmp_path):
    """Another seed draws other patients."""
    raw = tmp_path / "raw"
    phantom.write(raw, images=70, size=64, seed=1, sources=sorted(withheld_sources(SOURCES)))
    with pytest.raises(CompleteError, match=r"BC/.* is not the picture that was published"):
        complete(published.folder, raw, tmp_path / "data", allow_missing=True)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_rebuild_without_a_source_says_which_one_lacks(published, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(published.raw, raw)
    shutil.rmtree(raw / "udiat")
    build(raw, tmp_path / "data", allow_missing=True)
    found = compare(published.folder, tmp_path / "data")
    assert not found.is_equal
    assert {name.split("/")[1] for name in found.only[0]} >= {"udiat"}


def test_damaged_columns_are_refused(published, withheld_raw, tmp_path):
    folder = tmp_path / "published"
    shutil.copytree(published.folder, folder)
    path = folder / "BC/test-00000-of-00001.parquet"
    table = pq.read_table(path)
    at = table.column_names.index("pixel_sha256")
    pq.write_table(table.set_column(at, "pixel_sha256", table["mask_sha256"]), path)
    with pytest.raises(CompleteError, match="damaged"):
        complete(folder, withheld_raw, tmp_path / "data")


def test_a_folder_that_is_there_is_not_replaced(published, withheld_raw, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CompleteError, match="not empty"):
        complete(published.folder, withheld_raw, tmp_path)


def test_a_whole_data_set_needs_no_archive(published, tmp_path):
    complete(published.built, tmp_path / "no raw data", tmp_path / "data")
    manifest = json.loads((tmp_path / "data/manifest.json").read_text())
    assert manifest == read_manifest(published.built)


def test_a_shard_cannot_lead_out_of_the_folder(published, withheld_raw, tmp_path):
    folder = tmp_path / "published"
    shutil.copytree(published.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][0]["name"] = "../BC/train-00000-of-00001.parquet"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CompleteError, match="is no shard's name"):
        complete(folder, withheld_raw, tmp_path / "data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["published"]
