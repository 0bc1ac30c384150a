"""Sources to data set: whole, the same twice, and never half-written."""

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dataset_builders import build as build_module
from dataset_builders import phantom
from dataset_builders.build import BuildError, build
from dataset_builders.manifest import MANIFEST
from dataset_builders.parquet import COLUMNS, SCHEMA
from dataset_builders.schema import SourceError
from dataset_builders.selection import labelled
from dataset_builders.tasks import TASKS


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "raw"
    phantom.write(folder, images=16, size=64)
    return folder


@pytest.fixture(scope="module")
def built(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "data"
    return out, build(raw, out, allow_missing=True)


def rows_of(out: Path) -> list[dict]:
    return [
        row for path in sorted(out.glob("*/*.parquet")) for row in pq.read_table(path).to_pylist()
    ]


def files_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_task_has_images_and_every_row_is_whole(built):
    out, manifest = built
    assert set(manifest["tasks"]) == set(TASKS)
    rows = rows_of(out)
    assert len(rows) == sum(task["train"] + task["test"] for task in manifest["tasks"].values())
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        image = Image.open(io.BytesIO(row["image"]["bytes"]))
        mask = np.array(Image.open(io.BytesIO(row["mask"]["bytes"])))
        assert image.size == (row["width"], row["height"]) == mask.shape[::-1]
        assert set(np.unique(mask)) == {0, 255}
        # the hash is over shape and values, whatever encoded them
        digest = hashlib.sha256(f"{mask.shape}".encode() + mask.tobytes()).hexdigest()
        assert digest == row["mask_sha256"]
        assert row["group"].startswith(row["source"] + "/")


def test_columns_are_those_of_the_design(built):
    out, _ = built
    path = next(out.glob("BC/train-*.parquet"))
    assert pq.read_schema(path).names == list(COLUMNS)
    assert pq.read_schema(path).equals(SCHEMA)
    column = pq.ParquetFile(path).metadata.row_group(0).column(COLUMNS.index("image"))
    assert column.compression == "UNCOMPRESSED"


def test_groups_do_not_straddle_the_split(built):
    sides: dict[str, set[str]] = {}
    for row in rows_of(built[0]):
        sides.setdefault(row["group"], set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())


def test_id_lists_are_the_rows_in_order_of_rank(built):
    out, manifest = built
    for code, task in manifest["tasks"].items():
        table = pq.read_table(sorted(out.glob(f"{code}/train-*.parquet")), columns=["id", "rank"])
        ids = table.column("id").to_pylist()
        assert table.column("rank").to_pylist() == list(range(task["train"]))
        assert (out / f"splits/{code}/train.txt").read_text().split("\n")[:-1] == ids
        for name in ("1_16", "1_8", "1_4"):
            few = (out / f"splits/{code}/{name}.txt").read_text().split("\n")[:-1]
            assert few == ids[: labelled(len(ids), name)]


def test_hub_library_reads_it_as_images(built):
    datasets = pytest.importorskip("datasets")
    files = [str(path) for path in built[0].glob("OT/*.parquet")]
    loaded = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(built[0] / "hub")
    )
    assert loaded[0]["image"].mode == "RGB"
    assert loaded[0]["mask"].mode == "L"
    shutil.rmtree(built[0] / "hub")


def test_twice_the_same_bytes(built, raw, tmp_path):
    build(raw, tmp_path / "again", allow_missing=True, workers=1)
    assert files_of(tmp_path / "again") == files_of(built[0])


def test_a_misspelt_folder_is_named_beside_what_is_missing(tmp_path):
    (tmp_path / "raw" / "camsu").mkdir(parents=True)
    with pytest.raises(BuildError, match="No source goes by the name camsu: misspelt or misplaced"):
        build(tmp_path / "raw", tmp_path / "data")


def test_a_missing_source_stops_the_build_and_says_how_to_get_it(raw, tmp_path):
    few = tmp_path / "raw"
    shutil.copytree(raw / "hc18", few / "hc18")
    with pytest.raises(BuildError, match=r"(?s)camus \(not found\).*To get it, .*--allow-missing"):
        build(few, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_a_partial_build_says_so(raw, tmp_path):
    few = tmp_path / "raw"
    shutil.copytree(raw / "hc18", few / "hc18")
    manifest = build(few, tmp_path / "out", allow_missing=True)
    assert set(manifest["tasks"]) == {"FH"}
    assert manifest["partial"] == list(TASKS)
    assert manifest["missing"]["camus"] == "not found"


def test_choosing_sources_does_not_move_images(built, raw, tmp_path):
    build(raw, tmp_path / "out", sources=["ddti"], allow_missing=True)
    whole = {row["id"]: row["split"] for row in rows_of(built[0])}
    for row in rows_of(tmp_path / "out"):
        assert whole.get(row["id"], row["split"]) == row["split"]


def test_an_interrupted_build_keeps_the_older_data_set(built, raw, tmp_path, monkeypatch):
    out = tmp_path / "data"
    shutil.copytree(built[0], out)
    before = files_of(out)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(build_module, "write_id_lists", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(raw, out, allow_missing=True)
    assert files_of(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_damaged_image_stops_the_build_and_nothing_is_written(raw, tmp_path):
    few = tmp_path / "raw"
    shutil.copytree(raw / "udiat", few / "udiat")
    image = sorted(few.rglob("original/*.png"))[0]
    image.write_bytes(image.read_bytes()[:-100])
    with pytest.raises(SourceError, match=rf"udiat: '.*{image.name}': truncated.*get it again"):
        build(few, tmp_path / "out", allow_missing=True)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_not_replaced(raw, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("years of work")
    with pytest.raises(BuildError, match="not a data set of usbench"):
        build(raw, tmp_path / "out", allow_missing=True)
    assert (tmp_path / "out/thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", ["mynotes.txt", "BC/mine.parquet", "BC/notes", "deep/er.txt"])
def test_a_data_set_beside_files_of_others_is_not_replaced(built, raw, tmp_path, name):
    out = shutil.copytree(built[0], tmp_path / "out")
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("years of work")
    before = files_of(out)
    with pytest.raises(BuildError, match=f"no part of a data set .* {name}; move them away"):
        build(raw, out, allow_missing=True)
    assert files_of(out) == before


@pytest.mark.parametrize("manifest", ["", '{"format": 0}'])
def test_a_damaged_or_older_data_set_with_cache_and_lists_is_replaced(
    built, raw, tmp_path, manifest
):
    out = shutil.copytree(built[0], tmp_path / "out")
    (out / "cache").mkdir()
    for name in ("cache/decoded.npz", "splits/BC/clean.txt"):
        (out / name).write_text("x")
    (out / MANIFEST).write_text(manifest)
    build(raw, out, allow_missing=True)
    assert files_of(out) == files_of(built[0])


def test_a_folder_of_sources_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BuildError, match=r"^there is no folder .*/nope .*9 of 9 sources are miss"):
        build(tmp_path / "nope", tmp_path / "out", allow_missing=True)
    (tmp_path / "nope").mkdir()
    with pytest.raises(BuildError, match=r"^9 of 9 sources are missing"):
        build(tmp_path / "nope", tmp_path / "out", allow_missing=True)


def test_the_manifest_names_no_path_and_no_time(built, raw):
    text = (built[0] / MANIFEST).read_text()
    assert str(raw.parent) not in text
    assert json.loads(text)["versions"]["usbench"]


@pytest.mark.slow
def test_the_real_partial_build_has_the_known_counts(raw_pack, tmp_path):
    manifest = build(raw_pack, tmp_path / "data", allow_missing=True)
    counts = {code: task["train"] + task["test"] for code, task in manifest["tasks"].items()}
    assert counts == {
        "BC": 647, "FH": 800, "LA": 800, "LV": 800, "MD": 800, "OT": 800, "TG": 800, "TN": 648,
    }  # fmt: skip
    assert manifest["tasks"]["MD"]["sources"] == {"camus": 400, "hmc_qu": 400}
    assert manifest["tasks"]["TN"]["sources"] == {"ddti": 637, "tn3k": 11}
    assert manifest["partial"] == ["BC", "MD", "TG", "TN"]
