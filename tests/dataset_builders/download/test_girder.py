"""Girder: only what is needed, and what is here already is not fetched again."""

import re

import pytest
from fake_girder import COLLECTION, serving

from dataset_builders.download.errors import DownloadError, MirrorError
from dataset_builders.download.girder import GirderCollection
from dataset_builders.download.mirrors import MIRRORS
from dataset_builders.download.patience import Patience

(CAMUS,) = MIRRORS["camus"].ways
STILLS = ("2CH_ED", "2CH_ED_gt", "4CH_ES", "4CH_ES_gt")


def patient(number: int) -> dict[str, bytes]:
    name = f"patient{number:04}"
    stills = {f"{name}_{still}.nii.gz": f"{name} {still}".encode() * 200 for still in STILLS}
    others = ("2CH_half_sequence.nii.gz", "2CH_half_sequence_gt.nii.gz")
    return stills | {f"{name}_{other}": b"film" for other in others} | {"Info_2CH.cfg": b"ED: 1"}


def tree() -> dict:
    return {
        "database_nifti": {f"patient{number:04}": patient(number) for number in (1, 2, 3)},
        "database_split": {"subgroup_testing.txt": b"patient0001\n", "LICENSE_TERMS.md": b"terms"},
        "something_else": {"patient0009": patient(9)},
    }


@pytest.fixture
def server():
    with serving(tree()) as server:
        yield server


@pytest.fixture
def get(server, tmp_path):
    way = GirderCollection(
        server.api, COLLECTION, CAMUS.folders, CAMUS.wanted, Patience(attempts=2, first_wait=0.01)
    )

    def get(report=lambda done, total: None):
        into = tmp_path / "into"
        way.get(into, tmp_path / "have", report)
        return {p.relative_to(into).as_posix(): p for p in into.rglob("*") if p.is_file()}

    return get


def test_stills_masks_splits_and_terms_come_and_nothing_else(get):
    files = get()
    stills = [name for number in (1, 2, 3) for name in patient(number) if "CH_E" in name]
    assert len(stills) == 12
    assert sorted(files) == sorted(
        [f"database_nifti/{name[:11]}/{name}" for name in stills]
        + ["database_split/LICENSE_TERMS.md", "database_split/subgroup_testing.txt"]
    )
    for name, path in files.items():
        node = tree()
        for part in name.split("/"):
            node = node[part]
        assert path.read_bytes() == node


def test_bytes_are_counted_over_all_files(get):
    told = []
    files = get(lambda done, total: told.append((done, total)))
    size = sum(path.stat().st_size for path in files.values())
    assert told[-1] == (size, size)
    assert {total for _, total in told} == {size}


def test_an_interrupted_transfer_goes_on_and_fetches_nothing_twice(get, server, tmp_path):
    server.broken_after = 7
    with pytest.raises(DownloadError, match="503"):
        get()
    whole = list((tmp_path / "into").rglob("*.nii.gz"))
    assert 0 < len(whole) <= 7
    before = {f"/{path.relative_to(tmp_path / 'into').as_posix()}" for path in whole}
    server.broken_after = None
    server.asked.clear()
    assert len(get()) == 14
    assert not before & set(server.asked)


def test_what_the_source_has_in_place_is_not_fetched(get, server, tmp_path):
    name = "database_nifti/patient0002/patient0002_4CH_ES.nii.gz"
    shorter = "database_nifti/patient0002/patient0002_2CH_ED.nii.gz"
    (tmp_path / "have" / name).parent.mkdir(parents=True)
    (tmp_path / "have" / name).write_bytes(patient(2)["patient0002_4CH_ES.nii.gz"])
    (tmp_path / "have" / shorter).write_bytes(b"cut")
    files = get()
    assert name not in files
    assert f"/{name}" not in server.asked
    assert shorter in files


@pytest.mark.parametrize("page", [b"<html>log in</html>", b'{"message": "no"}', b'[{"x": 1}]'])
def test_a_page_in_place_of_a_list_is_told(get, server, page):
    server.page = page
    with pytest.raises(MirrorError, match="gave no list of files"):
        get()


def test_an_empty_list_is_told(get, server):
    server.page = b"[]"
    with pytest.raises(MirrorError, match="lists none of the files"):
        get()


def test_no_server_is_told(tmp_path):
    with serving({}) as server:
        api = server.api
    way = GirderCollection(api, COLLECTION, CAMUS.folders, CAMUS.wanted)
    with pytest.raises(MirrorError, match="cannot be reached"):
        way.get(tmp_path, tmp_path, lambda done, total: None)


STILL = "patient0001_2CH_ED.nii.gz"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("patient0001", f"../{STILL}"),
        ("patient0001", f"{STILL}/.."),
        ("patient0001", "patient0001_2CH_ED.sh"),
        ("../patient0001", STILL),
        ("patient0001/../..", STILL),
    ],
)
def test_a_hostile_name_becomes_no_file(folder, name, tmp_path):
    with serving({"database_nifti": {folder: {name: b"x"}}}) as server:
        way = GirderCollection(server.api, COLLECTION, CAMUS.folders, CAMUS.wanted)
        with pytest.raises(MirrorError, match="lists none"):
            way.get(tmp_path / "into", tmp_path / "have", lambda done, total: None)
    assert not list(tmp_path.rglob("*"))


def test_the_pattern_of_camus_knows_all_stills_of_a_patient():
    names = [
        f"patient0500_{v}CH_{p}{g}.nii.gz" for v in "24" for p in ("ED", "ES") for g in ("", "_gt")
    ]
    assert all(CAMUS.wanted.fullmatch(name) for name in names)
    assert re.fullmatch(CAMUS.folders["database_nifti"], "patient0500")
