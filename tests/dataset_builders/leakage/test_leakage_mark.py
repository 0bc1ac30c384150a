"""Findings written into a data set: what changes, what does not, and never a half of it."""

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from planted import compressed, data_set, files_of, row, scene, smaller

from dataset_builders.content import added_sha256
from dataset_builders.leakage import mark as mark_module
from dataset_builders.leakage.findings import search
from dataset_builders.leakage.mark import mark
from dataset_builders.leakage.pictures import of_data_set
from dataset_builders.manifest import MANIFEST, file_sha256


def rows_of(root: Path) -> dict[str, dict]:
    return {
        found["id"]: found
        for path in sorted(root.glob("*/*.parquet"))
        for found in pq.read_table(path).to_pylist()
    }


def marked(root: Path) -> dict[str, str]:
    return {
        id_: found["duplicate_of"] for id_, found in rows_of(root).items() if found["duplicate_of"]
    }


def search_and_mark(root: Path) -> int:
    return mark(root, search(of_data_set(root)))


@pytest.fixture
def root(tmp_path):
    """BC: two of its test images repeat a training image and each other; FH repeats nothing."""
    rows = [
        row("BC/busi/a", scene(0), "train", 0),
        row("BC/busi/b", scene(0, anatomy=2), "train", 1),
        row("BC/udiat/1", smaller(scene(0)), "test", 0),
        row("BC/busi/c", scene(0, anatomy=3), "test", 1),
        row("BC/busi/d", compressed(scene(0, anatomy=3)), "test", 2),
        row("BC/busi/e", scene(0, anatomy=4), "test", 3),
        row("FH/hc18/1", scene(0, anatomy=5), "train", 0),
        row("FH/hc18/2", scene(0, anatomy=6), "test", 0),
    ]
    (tmp_path / "data" / "cache").mkdir(parents=True)
    (tmp_path / "data" / "cache" / "rows").write_text("of another command")
    return data_set(tmp_path / "data", rows)


def test_repeats_name_what_they_repeat_and_clean_lists_leave_them_out(root):
    before = rows_of(root)
    assert search_and_mark(root) == 2
    assert marked(root) == {"BC/udiat/1": "BC/busi/a", "BC/busi/d": "BC/busi/c"}
    for id_, found in rows_of(root).items():
        assert found | {"duplicate_of": None} == before[id_]
    assert (root / "splits/BC/clean.txt").read_text() == "BC/busi/c\nBC/busi/e\n"
    assert (root / "splits/FH/clean.txt").read_text() == "FH/hc18/2\n"


def test_only_shards_that_change_are_written_and_the_manifest_has_their_new_hashes(root):
    before, content = files_of(root), json.loads((root / MANIFEST).read_text())["content_sha256"]
    search_and_mark(root)
    after = files_of(root)
    assert {name for name in after if after[name] != before.get(name)} == {
        "BC/test-00000-of-00001.parquet",
        "splits/BC/clean.txt",
        "splits/FH/clean.txt",
        MANIFEST,
    }
    assert before.keys() <= after.keys()
    manifest = json.loads((root / MANIFEST).read_text())
    assert manifest["content_sha256"] == content
    for entry in manifest["files"]:
        assert entry["sha256"] == file_sha256(root / entry["name"])
        assert entry["bytes"] == (root / entry["name"]).stat().st_size
    assert manifest["additions_sha256"] == added_sha256(manifest)
    assert manifest["leakage"]["pairs"] == {"near": 2}
    assert manifest["leakage"]["clean"] == {"BC": 2, "FH": 1}
    assert (manifest["leakage"]["duplicates"], manifest["leakage"]["straddling"]) == (2, 1)


def test_a_second_time_changes_nothing(root):
    search_and_mark(root)
    before, made = files_of(root), root.stat().st_ino
    search_and_mark(root)
    assert files_of(root) == before
    assert root.stat().st_ino == made


def test_a_data_set_that_was_marked_before_there_was_a_seal_gets_one(root):
    search_and_mark(root)
    whole = files_of(root)
    manifest = json.loads((root / MANIFEST).read_text())
    del manifest["additions_sha256"]
    (root / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    search_and_mark(root)
    assert files_of(root) == whole


def test_marks_that_no_longer_hold_are_taken_back(root):
    clean = files_of(shutil.copytree(root, root.parent / "copy"))
    search_and_mark(root)
    mark(root, search([p for p in of_data_set(root) if p.name not in ("1", "d")]))
    assert marked(root) == {}
    assert (
        files_of(root)["BC/test-00000-of-00001.parquet"]
        == (clean["BC/test-00000-of-00001.parquet"])
    )


@pytest.mark.parametrize("step", ["_same_files", "write_shard", "file_sha256", "exchange"])
def test_an_interrupted_call_leaves_the_old_data_set(root, monkeypatch, step):
    before = files_of(root.parent)

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mark_module, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        search_and_mark(root)
    assert files_of(root.parent) == before


@pytest.mark.parametrize("rename", [1, 2])
def test_an_interruption_between_the_two_renames_leaves_the_old_data_set(root, monkeypatch, rename):
    before, done = files_of(root.parent), []
    original = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        done.append(path)
        if len(done) == rename:
            raise KeyboardInterrupt
        return original(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search_and_mark(root)
    assert files_of(root.parent) == before


def test_a_disk_without_hard_links_gets_copies(root, monkeypatch):
    def refused(*args: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refused)
    assert search_and_mark(root) == 2
    assert (root / "cache/rows").read_text() == "of another command"


def test_a_link_to_the_data_set_stays_one(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    search_and_mark(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert len(marked(root)) == 2
