"""The content hash: equal for equal content, whatever wrote it, and for nothing else."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builders.built import BuiltError, content_rows, read_manifest, used_sources
from dataset_builders.content import (
    ADDED,
    PROVENANCE,
    content_sha256,
    provenance_sha256,
    with_seal,
)
from dataset_builders.manifest import MANIFEST
from dataset_builders.parquet import CONTENT_COLUMNS


def test_it_is_the_hash_of_the_manifest(small_data):
    manifest = read_manifest(small_data)
    assert content_sha256(content_rows(small_data, manifest)) == manifest["content_sha256"]


def test_it_does_not_change_for_data_sets_that_exist(small_data):
    # records refer to hashes made in this way; another way would orphan them
    rows = content_rows(small_data, read_manifest(small_data))
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True).encode())
    assert content_sha256(rows) == digest.hexdigest()


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            name: {
                "rank": st.integers(0, 600),
                "width": st.integers(1, 2000),
                "height": st.integers(1, 2000),
                "spacing_mm": st.none() | st.lists(st.floats(0.01, 1), min_size=2, max_size=2),
                "duplicate_of": st.none() | st.text(max_size=5),
            }.get(name, st.text(max_size=5))
            for name in CONTENT_COLUMNS
        }
    ),
    min_size=1,
    max_size=3,
)


@given(ROWS)
def test_findings_of_later_take_no_part(rows):
    marked = [{**row, "duplicate_of": "BC/busi/benign (1)"} for row in rows]
    assert content_sha256(marked) == content_sha256(rows)


@given(ROWS, st.sampled_from([name for name in CONTENT_COLUMNS if name != "duplicate_of"]))
def test_every_other_column_takes_part(rows, column):
    changed = [dict(row) for row in rows]
    changed[-1][column] = "something else"
    assert content_sha256(changed) != content_sha256(rows)


@given(ROWS)
def test_pictures_take_part_by_their_hashes_only(rows):
    assert content_sha256([{**row, "image": b"", "mask": b""} for row in rows]) == content_sha256(
        rows
    )


def test_the_seal_is_of_what_the_shards_cannot_tell(small_data):
    manifest = read_manifest(small_data)
    assert manifest[PROVENANCE] == provenance_sha256(manifest)
    assert provenance_sha256({**manifest, "files": [], "tasks": {}}) == manifest[PROVENANCE]
    assert provenance_sha256({**manifest, "leakage": {}}) == manifest[PROVENANCE]
    for name in ("sources", "missing", "versions", "partial", "license_filter", "selection_seed"):
        assert provenance_sha256({**manifest, name: "else"}) != manifest[PROVENANCE]


@pytest.mark.parametrize("name", ["leakage", "withheld"])
def test_what_is_added_after_the_build_has_a_seal_of_its_own(small_data, name):
    manifest = read_manifest(small_data)
    assert with_seal(manifest) == manifest
    sealed = with_seal({**manifest, name: {"busi": 1}})
    assert list(sealed)[-1] == ADDED
    assert with_seal(sealed) == sealed
    assert with_seal({**sealed, name: {"busi": 2}})[ADDED] != sealed[ADDED]
    del sealed[name]
    assert with_seal(sealed) == manifest


def test_used_sources_are_those_of_the_images(small_data):
    manifest = read_manifest(small_data)
    rows = content_rows(small_data, manifest)
    assert set(used_sources(manifest)) == {row["source"] for row in rows}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no data set"),
        ("", "is damaged"),
        ("\xff", "is damaged"),
        ("[]", "names no format"),
        ('{"format": 2}', "format 2, this usbench reads 1"),
        ('{"format": 1}', "no content_sha256"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_one_clear_error(tmp_path, text, message):
    if text is not None:
        (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(BuiltError, match=message):
        read_manifest(tmp_path)


@pytest.mark.parametrize("entry", ["BC", {"name": "BC/x"}, {"name": 1}])
def test_a_manifest_with_a_damaged_entry_is_one_clear_error(small_data, tmp_path, entry):
    manifest = json.loads((small_data / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**manifest, "files": [entry]}))
    with pytest.raises(BuiltError, match="files: entry 0"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps({**manifest, "sources": {"busi": 3}}))
    with pytest.raises(BuiltError, match="sources: busi"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(withheld=5), "withheld: 5 is no dict"),
        (lambda m: m.update(withheld={"busi": {}}), "withheld: busi: no images"),
        (lambda m: m.update(leakage=[]), r"leakage: \[\] is no dict"),
        (lambda m: m.update(leakage={"clean": {"BC": "2"}}), "leakage: clean: BC: '2' is no int"),
        (lambda m: m.update(additions_sha256=1), "additions_sha256: 1 is no str"),
        (lambda m: m.update(license_filter=None), "license_filter: None is no str"),
        (lambda m: m.update(partial=[1]), "partial: entry 0: 1 is no str"),
        (lambda m: m["tasks"]["BC"].update(sources=5), "tasks: BC: sources: 5 is no dict"),
        (lambda m: m["tasks"]["BC"].update(train=True), "tasks: BC: train: True is no int"),
        (lambda m: m["tasks"].update(BC={}), "tasks: BC: no train"),
        (lambda m: m["sources"]["busi"].pop("licence"), "sources: busi: no licence"),
        (lambda m: m["files"][1].update(rows="9"), "files: entry 1: rows: '9' is no int"),
        (lambda m: m.pop("missing"), "no missing"),
    ],
)
def test_every_entry_of_a_manifest_is_of_its_kind(small_data, tmp_path, change, said):
    manifest = read_manifest(small_data)
    change(manifest)
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BuiltError, match=rf"manifest.json is damaged \({said}\); build"):
        read_manifest(tmp_path)


def _places(value: object) -> list[tuple[dict | list, str | int]]:
    """Every entry of nested JSON: what holds it, and under which key."""
    if not isinstance(value, dict | list):
        return []
    keys = value.items() if isinstance(value, dict) else enumerate(value)
    return [place for key, inner in keys for place in ((value, key), *_places(inner))]


def test_a_wrong_value_anywhere_in_a_manifest_is_one_clear_error(small_data, tmp_path):
    text = (small_data / MANIFEST).read_text()
    for number in range(len(_places(json.loads(text)))):
        manifest = json.loads(text)
        holder, key = _places(manifest)[number]
        holder[key] = None
        (tmp_path / MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(BuiltError):
            read_manifest(tmp_path)


def test_a_damaged_shard_is_one_clear_error(small_data, tmp_path):
    (tmp_path / MANIFEST).write_bytes((small_data / MANIFEST).read_bytes())
    with pytest.raises(BuiltError, match=r"BC.train-.* cannot be read .*verify-data"):
        content_rows(tmp_path, read_manifest(tmp_path))
