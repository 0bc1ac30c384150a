"""What is here is counted as a build would count it, without unpacking anything."""

import shutil
import zipfile

import pytest
from bad_archives import WAYS, make_zip, spoil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataset_builders import inventory, phantom
from dataset_builders.acquire import Finder
from dataset_builders.inventory import images_in, staging, take_stock
from dataset_builders.sources import SOURCES

IMAGES = 16


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "raw"
    phantom.write(folder, images=IMAGES, size=64)
    return folder


@pytest.fixture
def raw(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "raw")


def stock(raw, name):
    (found,) = take_stock(raw, [SOURCES[name]])
    return found


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_as_many_are_found_as_the_builder_finds(drawn, tmp_path, name):
    source = SOURCES[name]
    listing = source.index(Finder(drawn, tmp_path).find(source))
    per_task = len(listing.items) // len(source.expected)
    found = stock(drawn, name)
    assert found.found == per_task
    assert found.expected == (listing.expected or images_in(source))
    assert found.state == "incomplete"
    assert found.problem == f"{per_task} of {found.expected} images"
    assert found.size == sum(path.stat().st_size for path in found.paths) > 0


def test_nothing_is_unpacked_but_tables(drawn, monkeypatch):
    read = []
    monkeypatch.setattr(
        zipfile.ZipFile, "read", lambda self, info, pwd=None: read.append(info.filename) or b""
    )
    monkeypatch.setattr("dataset_builders.acquire.unpack", None)
    names = ["busi", "hc18", "tn3k", "tg3k"]  # in zip archives
    assert all(found.found for found in take_stock(drawn, [SOURCES[name] for name in names]))
    assert not read


def test_the_original_form_of_ddti_is_read_from_its_archive(tmp_path):
    """Its index reads all XML files."""
    phantom.write(tmp_path / "a", images=16, size=64, sources=["ddti"], ddti_form="original")
    shutil.make_archive(str(tmp_path / "b/thyroid"), "zip", tmp_path / "a/ddti")
    assert stock(tmp_path / "b", "ddti").found == stock(tmp_path / "a", "ddti").found > 0
    assert stock(tmp_path / "b", "ddti").expected == 466


def test_a_complete_source_is_here(drawn, monkeypatch):
    monkeypatch.setattr(type(SOURCES["busi"]), "expected", {"BC": IMAGES})
    assert (stock(drawn, "busi").state, stock(drawn, "busi").problem) == ("here", "")


def test_of_several_tasks_the_one_that_lacks_most_counts(drawn, monkeypatch):
    monkeypatch.setattr(type(SOURCES["camus"]), "expected", {"LA": 2, "LV": 99, "MD": 3})
    camus = stock(drawn, "camus")
    assert (camus.expected, camus.state) == (99, "incomplete")


def test_an_empty_and_an_absent_folder_have_nothing(tmp_path):
    for raw in (tmp_path, tmp_path / "absent"):
        for found in take_stock(raw, SOURCES.values()):
            assert (found.state, found.found, found.size) == ("missing", 0, 0)
    assert not (tmp_path / "absent").exists()


def test_it_leaves_no_trace(raw):
    before = sorted(raw.rglob("*"))
    take_stock(raw, SOURCES.values())
    assert sorted(raw.rglob("*")) == before


def test_two_sources_of_one_archive_name_the_same_file(drawn):
    tn3k, tg3k = stock(drawn, "tn3k"), stock(drawn, "tg3k")
    assert tn3k.paths == tg3k.paths == {drawn / "Thyroid Dataset.zip"}


def test_an_archive_beside_the_folder_it_unpacked_to_counts_once(raw):
    alone = stock(raw, "busi").found
    with zipfile.ZipFile(raw / "Dataset_BUSI.zip") as archive:
        archive.extractall(raw / "busi")
    assert stock(raw, "busi").found == alone


def test_two_files_of_one_name_and_different_size_are_told(raw):
    with zipfile.ZipFile(raw / "Dataset_BUSI.zip") as archive:
        archive.extractall(raw / "busi")
    picture = next((raw / "busi").rglob("benign (1).png"))
    picture.write_bytes(picture.read_bytes() + b"\0")
    assert "two different files of one name" in stock(raw, "busi").problem


def test_a_source_that_cannot_be_used_says_why(raw):
    next(raw.rglob("training_set_pixel_size_and_HC.csv")).unlink()
    hc18 = stock(raw, "hc18")
    assert (hc18.state, hc18.found) == ("incomplete", 0)
    assert "training_set_pixel_size_and_HC.csv" in hc18.problem


@pytest.mark.parametrize("name", ["Dataset_BUSI.zip", "busi.rar"])
def test_an_unreadable_archive_says_what_to_do(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 damaged")
    found = stock(tmp_path, "busi")
    assert found.state == "incomplete"
    assert name in found.problem


@pytest.mark.parametrize("ruin", [ruin for ruin in WAYS if ruin is not spoil])
def test_an_archive_that_no_build_could_unpack_hides_no_other_source(raw, ruin):
    ruin(raw / "hc18/training_set.zip")
    stocks = {found.source.name: found for found in take_stock(raw, SOURCES.values())}
    assert (stocks["hc18"].state, stocks["hc18"].found) == ("incomplete", 0)
    assert str(raw / "hc18/training_set.zip") in stocks["hc18"].problem
    assert all(found.found for name, found in stocks.items() if name != "hc18")


def test_a_damaged_table_in_an_archive_is_told(tmp_path):
    """The stand-in for the member before it is there by then."""
    archive = make_zip(tmp_path / "hc18.zip", {"a.png": b"1", "b.csv": b"0123456789" * 30})
    spoil(archive, member=1)
    assert "hc18.zip': cannot be unpacked" in stock(tmp_path, "hc18").problem


@pytest.mark.parametrize("member", ["../evil.csv", "/evil.csv", "a\\..\\evil.csv", "C:evil.csv"])
def test_a_hostile_archive_writes_nothing_and_is_named(tmp_path, member):
    raw = tmp_path / "deep/raw"
    raw.mkdir(parents=True)
    with zipfile.ZipFile(raw / "Dataset_BUSI.zip", "w") as archive:
        archive.writestr(member, b"x")
    assert "leads out of the folder" in stock(raw, "busi").problem
    assert not list(tmp_path.rglob("*evil*"))


def test_a_download_that_is_begun_is_counted(tmp_path):
    part = staging(tmp_path, "busi") / "host/x.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"12345")
    busi = stock(tmp_path, "busi")
    assert (busi.state, busi.begun) == ("missing", 5)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gone=st.sets(st.integers(0, IMAGES - 1)))
def test_it_counts_what_is_left(drawn, tmp_path_factory, gone):
    raw = tmp_path_factory.mktemp("left")
    shutil.copytree(drawn / "udiat", raw / "udiat")
    images = sorted((raw / "udiat").rglob("original/*.png"))
    for number in gone:
        images[number].unlink()
        next((raw / "udiat").rglob(f"GT/{images[number].name}")).unlink()
    assert stock(raw, "udiat").found == IMAGES - len(gone)


def test_no_stand_in_lies_where_a_table_is_read(drawn, tmp_path):
    """The table within an archive is the real one."""
    with zipfile.ZipFile(drawn / "hc18/training_set.zip") as archive:
        archive.extractall(tmp_path / "hc18")
    table = next(drawn.rglob("training_set_pixel_size_and_HC.csv"))
    shutil.copy(table, tmp_path / "hc18")
    (tmp_path / "raw").mkdir()
    shutil.make_archive(str(tmp_path / "raw/hc18"), "zip", tmp_path / "hc18")
    assert stock(tmp_path / "raw", "hc18").found == IMAGES


def test_a_huge_table_is_left_to_those_who_unpack(drawn, monkeypatch, tmp_path):
    monkeypatch.setattr(inventory, "MAX_TABLE", 3)
    (tmp_path / "raw").mkdir()
    with zipfile.ZipFile(tmp_path / "raw/busi.zip", "w") as archive:
        archive.writestr("a.csv", b"1234")
    asked = []
    monkeypatch.setattr(
        "dataset_builders.acquire.unpack", lambda *_: asked.append(1) or _[2].mkdir(parents=True)
    )
    stock(tmp_path / "raw", "busi")
    assert asked
