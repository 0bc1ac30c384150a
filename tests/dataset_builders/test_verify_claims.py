"""The proof of what a data set says of itself: its lists, its search for leaks, its manifest."""

import json
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from forging import edit_manifest, flip, searched

from dataset_builders.built import BuiltError
from dataset_builders.content import provenance_sha256, with_seal
from dataset_builders.manifest import MANIFEST
from dataset_builders.verify import verify


def test_any_flipped_bit_in_a_list_is_found(few, tmp_path):
    data = shutil.copytree(few, tmp_path / "data")
    rng = random.Random(0)
    lists = [path for path in sorted(data.glob("splits/*/*.txt")) if path.stat().st_size]
    for path in rng.sample(lists, 10):
        before = path.read_bytes()
        flip(path, rng.randrange(len(before)), rng.randrange(8))
        (finding,) = verify(data).findings
        assert (finding.step, finding.where) == ("list", path.relative_to(data).as_posix())
        path.write_bytes(before)


def test_a_list_that_lacks_is_found(data):
    (data / "splits/LA/1_4.txt").unlink()
    (data / "splits/LV/train.txt").write_text("")
    assert [finding.where for finding in verify(data).findings] == [
        "splits/LA/1_4.txt",
        "splits/LV/train.txt",
    ]


def test_lists_of_clean_ids_are_proven_once_they_are_there(data):
    searched(data)
    assert verify(data).findings == verify(data).unsealed == ()
    dropped = data / "splits/BC/clean.txt"
    first, _, rest = dropped.read_text().partition("\n")
    dropped.write_text(rest)
    (found,) = verify(data).findings
    assert (found.step, found.where) == ("list", "splits/BC/clean.txt")
    assert repr(first) in found.problem


@pytest.mark.parametrize(
    "strange", ["splits/BC/clean.txt", "splits/BC/foo.txt", "splits/XX", "splits/notes.txt"]
)
def test_a_list_that_follows_from_nothing_is_found(data, strange):
    if Path(strange).suffix:
        (data / strange).write_text("BC/busi/other\n")
    else:
        (data / strange).mkdir()
    (found,) = verify(data).findings
    assert (found.step, found.where) == ("list", strange)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("duplicates", 3),
        ("straddling", 99),
        ("clean", {"BC": 1}),
        ("pairs", {"exact": 7}),
        ("correlation", 0.5),
    ],
)
def test_what_a_search_did_not_find_is_found(data, entry, value):
    searched(data)
    edit_manifest(data, lambda manifest: manifest["leakage"].update({entry: value}))
    findings = verify(data).findings
    assert {finding.step for finding in findings} == {"manifest"}
    assert any("additions_sha256" in finding.problem for finding in findings)
    edit_manifest(data, lambda manifest: manifest.update(with_seal(manifest)))
    said = [finding.problem for finding in verify(data).findings]
    assert len(said) == (entry in ("duplicates", "clean"))
    assert all(problem.startswith(f"leakage: {entry}: ") for problem in said)


def test_a_search_of_before_its_seal_is_proven_but_for_that(data):
    searched(data)
    edit_manifest(data, lambda manifest: manifest.pop("additions_sha256"))
    proof = verify(data)
    assert proof.findings == ()
    assert proof.unsealed == ("limits, pairs and terms under leakage",)


def test_any_flipped_bit_in_the_manifest_is_found(few, tmp_path):
    data = shutil.copytree(few, tmp_path / "data")
    searched(data)
    rng = random.Random(1)
    path = data / MANIFEST
    before = path.read_bytes()
    refused = 0
    for _ in range(150):
        position, bit = rng.randrange(len(before)), rng.randrange(8)
        flip(path, position, bit)
        findings = None
        with suppress(BuiltError):
            findings = verify(data, workers=1).findings
        if findings is None:
            refused += 1
        else:
            same = json.loads(path.read_bytes()) == json.loads(before)
            assert bool(findings) != same, f"byte {position}, bit {bit}"
        path.write_bytes(before)
    assert 0 < refused < 150


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(content_sha256="0" * 64), "content_sha256"),
        (lambda m: m["tasks"]["BC"].update(train=3), "task BC"),
        (lambda m: m["tasks"].update(XX=m["tasks"]["BC"]), "tasks"),
        (lambda m: m["tasks"].pop("LV"), "task LV"),
        (lambda m: m["files"][0].update(rows=3), "rows of BC/train"),
        (lambda m: m["files"][0].update(name="../BC/x.parquet"), "no shard's name"),
        (lambda m: m["files"].append(m["files"][0]), "listed twice"),
        (lambda m: m.update(additionr_sha256="0"), "'additionr_sha256' is no entry"),
        (lambda m: m["sources"].update(bus=m["sources"].pop("busi")), "'bus' is no source"),
    ],
)
def test_a_manifest_that_contradicts_the_shards_is_found_even_if_sealed(data, change, said):
    def sealed(manifest: dict) -> None:
        change(manifest)
        manifest["provenance_sha256"] = provenance_sha256(manifest)

    edit_manifest(data, sealed)
    problems = [f.problem for f in verify(data).findings if f.step == "manifest"]
    assert any(said in problem for problem in problems)
