"""The proof of a data set: any flipped bit is found, and said where."""

import json
import random
import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forging import edit_manifest, flip, forge, withhold

from dataset_builders.built import BuiltError
from dataset_builders.content import content_sha256
from dataset_builders.images import encode_png
from dataset_builders.manifest import MANIFEST
from dataset_builders.verify import verify

BC = "BC/train-00000-of-00001.parquet"
FOOTER = 8 + 4000  # a flip there tends to make the whole file unreadable: try that often too


def steps(root: Path) -> list[str]:
    return [finding.step for finding in verify(root).findings]


def content_of(path: Path) -> list[dict]:
    """Rows of a shard with their pictures as pixels, read apart from the code under test."""
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        for name in ("image", "mask"):
            mode = cv2.IMREAD_COLOR_RGB if name == "image" else cv2.IMREAD_GRAYSCALE
            row[name] = cv2.imdecode(np.frombuffer(row[name]["bytes"], np.uint8), mode).tobytes()
    return rows


def test_a_sound_data_set_has_no_findings(sound):
    seen: dict[str, tuple[int, int]] = {}
    proof = verify(sound, progress=lambda task, done, total: seen.update({task: (done, total)}))
    assert proof.findings == ()
    assert (proof.shards, proof.unsealed, proof.withheld) == (16, (), 0)
    assert proof.images == sum(total for _, total in seen.values()) > 60
    assert all(done == total for done, total in seen.values())


def test_a_data_set_of_before_the_seal_is_proven_but_for_that(data):
    def older(manifest: dict) -> None:
        del manifest["license_filter"], manifest["provenance_sha256"]

    edit_manifest(data, older)
    proof = verify(data)
    assert proof.findings == ()
    assert proof.unsealed == ("archives, skipped files, versions",)


@pytest.mark.parametrize("seed", range(4))
def test_any_flipped_bit_in_any_shard_is_found(few, tmp_path, seed):
    data = shutil.copytree(few, tmp_path / "data")
    rng = random.Random(seed)
    outside = 0
    for number in range(50):
        path = rng.choice(sorted(data.glob("*/*.parquet")))
        name = path.relative_to(data).as_posix()
        size = path.stat().st_size
        start = max(0, size - FOOTER) if number % 4 == 0 else 0
        position, bit = rng.randrange(start, size), rng.randrange(8)
        flip(path, position, bit)
        findings = verify(data, workers=1).findings
        at = f"{name}, byte {position}, bit {bit}"
        of_file = [finding for finding in findings if finding.step == "file"]
        assert [finding.where for finding in of_file] == [name], at
        assert all(
            finding.where.startswith((name, f"splits/{name[:2]}/", MANIFEST))
            for finding in findings
        ), at
        if "outside of the content" in of_file[0].problem:
            outside += 1
            assert content_of(path) == content_of(few / name), at
        elif "see its rows" not in of_file[0].problem:
            assert "a column that has no hash of its own" in of_file[0].problem, at
            assert content_of(path) != content_of(few / name), at
        shutil.copy(few / name, path)
    assert 0 < outside < 50


@pytest.mark.parametrize(("kind", "step"), [("image", "pixels"), ("mask", "mask")])
@pytest.mark.parametrize("shard", ["BC/train", "OT/test", "MD/train"])
def test_a_flip_in_a_picture_names_the_picture(data, kind, step, shard):
    (path,) = (data / shard[:2]).glob(f"{shard[3:]}-*")
    rows = pq.read_table(path, columns=["id", "source", kind]).to_pylist()
    row = rows[2]
    picture = row[kind]["bytes"]
    content = path.read_bytes()
    # in the middle of the pixels' compressed stream
    flip(path, content.index(picture) + len(picture) // 2, 3)
    findings = verify(data).findings
    (of_row,) = (finding for finding in findings if finding.step == step)
    assert (of_row.sample, of_row.source) == (row["id"], row["source"])
    assert of_row.where.endswith("row 2")
    (of_file,) = (finding for finding in findings if finding.step == "file")
    assert "see its rows" in of_file.problem
    assert len(findings) == 2


def other_image(rows: list[dict]) -> None:
    rows[1]["image"]["bytes"] = rows[0]["image"]["bytes"]


def other_mask(rows: list[dict]) -> None:
    height, width = rows[1]["height"], rows[1]["width"]
    mask = np.zeros((height, width), np.uint8)
    mask[2:5, 3:9] = 255
    rows[1]["mask"]["bytes"] = encode_png(mask, mask=True)


@pytest.mark.parametrize(("forgery", "step"), [(other_image, "pixels"), (other_mask, "mask")])
def test_a_forged_picture_is_found_though_the_manifest_names_the_file(data, forgery, step):
    forge(data, BC, forgery)
    (finding, *others) = verify(data).findings
    assert finding.step == step
    assert "hashes to" in finding.problem
    assert {other.step for other in others} <= {step}


@pytest.mark.parametrize(
    ("column", "value", "step"),
    [
        ("id", "BC/busi/other", "column"),
        ("task", "FH", "column"),
        ("organ", "heart", "column"),
        ("source", "hc18", "column"),
        ("source_id", "other", "column"),
        ("group", "camus/nobody", "column"),
        ("group", "busi/other", "manifest"),  # only the content hash knows it
        ("split", "test", "column"),
        ("rank", 7, "column"),
        ("width", 47, "pixels"),
        ("height", 47, "mask"),
        ("spacing_mm", [0.1, 0.2], "manifest"),
        ("view", "4CH", "manifest"),
        ("license", "CC0-1.0", "column"),
        ("pixel_sha256", "0" * 64, "pixels"),
        ("mask_sha256", None, "mask"),
        ("duplicate_of", "BC/busi/no such image", "column"),
    ],
)
def test_a_forged_column_is_found(data, column, value, step):
    def change(rows: list[dict]) -> None:
        assert rows[1]["source"] in ("busi", "udiat")
        if column == "group":
            rows[1][column] = value.replace("busi", rows[1]["source"])
        else:
            rows[1][column] = value

    forge(data, BC, change)
    found = verify(data).findings
    assert step in {finding.step for finding in found}
    if step != "manifest":
        named = [finding for finding in found if finding.step == step]
        assert all("row 1" in finding.where for finding in named)
    if column != "duplicate_of":  # a finding of later: no part of the content
        assert any("content_sha256" in finding.problem for finding in found)


@pytest.mark.parametrize(("view", "said"), [("4CH", "a column that has no"), ("", "outside of")])
def test_a_changed_file_says_whether_its_content_changed(data, view, said):
    rows = pq.read_table(data / BC).to_pylist()
    rows[1]["view"] = view
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(data / BC)), data / BC)
    (of_file,) = (finding for finding in verify(data).findings if finding.step == "file")
    assert (of_file.where, said in of_file.problem) == (BC, True)


def test_duplicates_that_were_marked_later_are_no_fault(data):
    def mark(rows: list[dict]) -> None:
        rows[1]["duplicate_of"] = rows[0]["id"]

    forge(data, BC, mark)
    assert verify(data).findings == ()


def test_a_group_on_both_sides_of_the_split_is_found(data):
    test = BC.replace("train", "test")
    group = pq.read_table(data / BC, columns=["group"])["group"][0].as_py()

    def join(rows: list[dict]) -> None:
        rows[0]["group"] = group
        rows[0]["source"] = group.partition("/")[0]

    forge(data, test, join)
    assert any("both sides" in finding.problem for finding in verify(data).findings)


def test_an_id_that_comes_twice_is_found(data):
    forge(data, BC, lambda rows: rows[1].update(id=rows[0]["id"]))
    assert any("is that of" in finding.problem for finding in verify(data).findings)


def test_a_row_too_few_is_found_by_every_count(data):
    forge(data, BC, lambda rows: rows.pop())
    found = verify(data).findings
    assert {"list", "manifest"} == {finding.step for finding in found}
    said = " ".join(finding.problem for finding in found)
    assert "task BC" in said
    assert "content_sha256" in said


def test_other_columns_are_found(data):
    table = pq.read_table(data / BC)
    view = pa.array([1] * table.num_rows, pa.int8())
    changed = table.set_column(table.schema.get_field_index("view"), "view", view)
    pq.write_table(changed.drop_columns(["organ"]), data / BC)
    problems = [str(finding) for finding in verify(data).findings]
    assert any("schema differs in organ, view" in problem for problem in problems)


def test_missing_strange_and_cut_shards_are_all_named(data):
    shutil.copy(data / BC, data / "BC/train-00001-of-00002.parquet")
    (data / "FH/test-00000-of-00001.parquet").unlink()
    cut = data / "OT/train-00000-of-00001.parquet"
    cut.write_bytes(cut.read_bytes()[:-100])
    (data / "TN/test-00000-of-00001.parquet").write_bytes(b"")
    problems = {finding.where: finding.problem for finding in verify(data).findings[::-1]}
    assert "does not name it" in problems["BC/train-00001-of-00002.parquet"]
    assert problems["FH/test-00000-of-00001.parquet"] == "the file is missing"
    assert "bytes, the manifest says" in problems["OT/train-00000-of-00001.parquet"]
    assert "has 0 bytes" in problems["TN/test-00000-of-00001.parquet"]


def test_it_goes_on_after_the_first_finding(data):
    forge(data, BC, other_image)
    forge(data, "LA/test-00000-of-00001.parquet", other_mask)
    flip(data / "splits/TG/test.txt", 0, 1)
    assert {"pixels", "mask", "list"} <= set(steps(data))


def test_pictures_that_were_withheld_are_passed_over_and_counted(data):
    def hide(rows: list[dict]) -> None:
        for row in rows:
            if row["source"] == "busi":
                row["image"] = row["mask"] = None

    rows = pq.read_table(data / BC, columns=["source"])["source"].to_pylist()
    forge(data, BC, hide)
    assert set(steps(data)) == {"pixels", "mask"}
    withhold(data, {"busi": {"BC": rows.count("busi")}})
    proof = verify(data)
    assert proof.findings == proof.unsealed == ()
    assert proof.withheld == rows.count("busi") > 0


@pytest.mark.parametrize(
    "images",
    [{"busi": {"BC": 3}}, {"busi": {}, "hc18": {"FH": 2}}, {"udiat": {"BC": 1}}, {"no one": {}}],
)
def test_pictures_that_are_there_are_not_withheld(data, images):
    withhold(data, images)
    (found,) = verify(data).findings
    assert (found.step, "withheld" in found.problem) == ("manifest", True)


def test_a_row_that_lacks_only_its_mask_is_not_taken_for_withheld(data):
    source = pq.read_table(data / BC, columns=["source"])["source"][0].as_py()
    forge(data, BC, lambda rows: rows[0].update(mask=None))
    withhold(data, {source: {"BC": 1}})
    assert [finding.step for finding in verify(data).findings] == ["manifest", "mask"]


def test_no_data_set_is_an_error(tmp_path):
    with pytest.raises(BuiltError, match="holds no data set"):
        verify(tmp_path)


def test_the_content_hash_of_a_forger_is_told_by_the_records(data, sound):
    """Who changes shards, manifest and seal alike makes another data set: with another hash."""

    def change(rows: list[dict]) -> None:
        rows[1]["view"] = "4CH"

    forge(data, BC, change)
    rows = [
        row
        for entry in json.loads((data / MANIFEST).read_text())["files"]
        for row in pq.read_table(data / entry["name"]).to_pylist()
    ]
    edit_manifest(data, lambda manifest: manifest.update(content_sha256=content_sha256(rows)))
    proof = verify(data)
    assert proof.findings == ()
    assert proof.content_sha256 != verify(sound).content_sha256
