"""What is here stays, mirrors are tried in turn, and only what was checked gets a name."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bad_archives import WAYS, make_zip, truncate
from misbehaving_server import page, serving, status

from dataset_builders import phantom
from dataset_builders.download import content, plan
from dataset_builders.download.errors import DownloadError, MirrorError
from dataset_builders.download.mirrors import MIRRORS, Link, Links, Mirrors
from dataset_builders.download.patience import Patience
from dataset_builders.download.plan import get_sources
from dataset_builders.inventory import staging
from dataset_builders.sources import SOURCES

IMAGES = 16
QUICK = Patience(attempts=2, first_wait=0.01)
RELEASES = {  # of the synthetic sources below
    "busi": {"benign": (r"benign/benign \(\d+\)\.png", 8)},
    "hc18": {"training_set": (r"training_set/\d{3}_\d?HC\.png", 16)},
    "tn3k": {"test-image": (r"test-image/\d{4}\.jpg", 1)},
    "tg3k": {"thyroid-image": (r"thyroid-image/\d{4}\.jpg", 1)},
}


@dataclass
class Fake:
    """A way that does what a test wants, and counts how often it is gone."""

    do: Callable[[Path, Path], None] = lambda into, have: None
    host: str = "localhost"
    gone: list[str] = field(default_factory=list)

    def get(self, into, have, report):
        self.gone.append(self.host)
        report(1, 2)
        self.do(into, have)
        return [f"from {self.host}"]


def fails(reason):
    def do(*_):
        raise reason

    return do


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Synthetic sources as publishers lay them out: zips of BUSI, HC18 and the thyroid sets."""
    folder = tmp_path_factory.mktemp("drawn")
    phantom.write(folder, images=IMAGES, size=64, sources=["busi", "hc18", "tn3k", "tg3k"])
    return folder


@pytest.fixture(autouse=True)
def complete_at_16(monkeypatch, drawn):
    """Synthetic sources count as whole releases."""
    monkeypatch.setattr(content, "FORMS", {name: (form,) for name, form in RELEASES.items()})
    monkeypatch.setattr(content, "table", lambda _: ())
    for source in SOURCES.values():
        monkeypatch.setattr(type(source), "expected", dict.fromkeys(source.expected, IMAGES))


@pytest.fixture
def get(tmp_path):
    """Runs a plan for one source (or several) with the ways given, and says what became of it."""

    def get(name, *ways, folder="", **others):
        mirrors = {name: Mirrors(ways, folder=folder), **others}
        sources = [SOURCES[each] for each in mirrors]
        told = []
        outcomes = list(
            get_sources(
                tmp_path / "raw",
                sources,
                lambda label: lambda done, total: told.append((label, done, total)),
                mirrors=mirrors,
            )
        )
        return outcomes if others else outcomes[0]

    return get


def brings(drawn, *names):
    def do(into, have):
        for name in names:
            (into / Path(name).name).write_bytes((drawn / name).read_bytes())

    return do


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_what_is_missing_is_fetched_and_takes_its_place(get, drawn, tmp_path):
    way = Fake(brings(drawn, "Dataset_BUSI.zip"))
    outcome = get("busi", way)
    assert (outcome.fetched, outcome.problem, outcome.stock.state) == (True, "", "here")
    assert outcome.notes == ("from localhost",)
    assert files(tmp_path / "raw") == ["busi/Dataset_BUSI.zip"]


def test_what_is_here_is_not_fetched_again(get, drawn):
    way = Fake(brings(drawn, "Dataset_BUSI.zip"))
    get("busi", way)
    outcome = get("busi", way)
    assert len(way.gone) == 1
    assert (outcome.fetched, outcome.problem) == (False, "")


def test_what_is_here_may_lie_where_nothing_can_be_written(get, drawn, monkeypatch):
    get("busi", Fake(brings(drawn, "Dataset_BUSI.zip")))
    monkeypatch.setattr(plan, "alone", fails(AssertionError("a lock file")))
    assert get("busi", Fake()).problem == ""


def test_an_archive_of_two_sources_is_fetched_once(get, drawn, tmp_path):
    way = Fake(brings(drawn, "Thyroid Dataset.zip"))
    both = get("tn3k", way, tg3k=Mirrors((way,), folder="tn3k"))
    assert [outcome.stock.state for outcome in both] == ["here", "here"]
    assert len(way.gone) == 1
    assert files(tmp_path / "raw") == ["tn3k/Thyroid Dataset.zip"]


def test_tg3k_alone_brings_it_to_the_same_place(get, drawn, tmp_path):
    get("tg3k", Fake(brings(drawn, "Thyroid Dataset.zip")), folder="tn3k")
    assert files(tmp_path / "raw") == ["tn3k/Thyroid Dataset.zip"]


def test_mirrors_are_tried_in_order_until_one_has_it(get, drawn):
    asked: list[str] = []
    ways = [
        Fake(fails(MirrorError("closed", "knock")), "127.0.0.1", asked),
        Fake(brings(drawn, "Dataset_BUSI.zip"), "localhost", asked),
        Fake(fails(AssertionError()), "::1", asked),
    ]
    assert get("busi", *ways).notes == ("from localhost",)
    assert asked == ["127.0.0.1", "localhost"]


def test_if_none_has_it_every_reason_and_the_manual_way_are_told(get, tmp_path):
    ways = [
        Fake(fails(MirrorError("closed", "knock")), "127.0.0.1"),
        Fake(fails(DownloadError("x.zip could not\nbe fetched")), "localhost"),
    ]
    outcome = get("busi", *ways)
    for text in ("127.0.0.1: closed (knock)", "x.zip could not\n    be fetched", "By hand: "):
        assert text in outcome.problem
    assert SOURCES["busi"].card.access in outcome.problem
    assert str(tmp_path / "raw" / "busi") in outcome.problem
    assert not list((tmp_path / "raw").iterdir())


def test_a_failure_does_not_keep_the_next_source_back(get, drawn):
    way = Fake(brings(drawn, "Dataset_BUSI.zip"))
    hc18, busi = get("hc18", Fake(fails(MirrorError("closed"))), busi=Mirrors((way,)))
    assert hc18.problem
    assert busi.stock.state == "here"


def test_a_host_without_a_name_is_told_at_once(get):
    way = Fake(host="nowhere.invalid")
    assert "nowhere.invalid: no such host" in get("busi", way).problem
    assert not way.gone


def test_what_an_earlier_try_left_is_gone_on_with(get, drawn, tmp_path):
    def break_off(into, have):
        (into / "Dataset_BUSI.zip.part").write_bytes(b"half")
        raise MirrorError("broke")

    def go_on(into, have):
        assert (into / "Dataset_BUSI.zip.part").read_bytes() == b"half"
        brings(drawn, "Dataset_BUSI.zip")(into, have)

    assert get("busi", Fake(break_off)).stock.begun == 0  # as it was before
    assert not (tmp_path / "raw/busi").exists()
    assert get("busi", Fake(go_on)).stock.state == "here"
    assert files(tmp_path / "raw") == ["busi/Dataset_BUSI.zip"]


def test_ctrl_c_leaves_nothing_under_the_final_name(get, tmp_path):
    def stop(into, have):
        (into / "Dataset_BUSI.zip").write_bytes(b"whole, but not checked")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get("busi", Fake(stop))
    assert not (tmp_path / "raw/busi").exists()


def test_what_is_not_the_release_is_refused_and_kept_apart(get, drawn, tmp_path):
    asked: list[str] = []
    other = Fake(brings(drawn, "hc18/training_set.zip"), "127.0.0.1", asked)
    outcome = get("busi", other)
    assert "127.0.0.1: none of the source's files is there" in outcome.problem
    assert not (tmp_path / "raw/busi").exists()
    kept = staging(tmp_path / "raw", "busi") / "127.0.0.1.refused"
    assert files(kept) == ["training_set.zip"]
    assert str(kept) in outcome.problem
    right = Fake(brings(drawn, "Dataset_BUSI.zip"), "localhost", asked)
    assert get("busi", other, right).stock.state == "here"
    assert files(tmp_path / "raw") == ["busi/Dataset_BUSI.zip"]


def test_a_damaged_archive_is_refused(get, drawn, tmp_path):
    def do(into, have):
        (into / "Dataset_BUSI.zip").write_bytes((drawn / "Dataset_BUSI.zip").read_bytes()[:-30])

    assert "an archive is damaged" in get("busi", Fake(do)).problem
    assert not (tmp_path / "raw/busi").exists()


HC18 = ("training_set.zip", "training_set_pixel_size_and_HC.csv")


@pytest.fixture
def hc18_links(drawn):
    """HC18 from a server."""
    with serving() as server:
        for name in HC18:
            server.add(f"/{name}", (drawn / "hc18" / name).read_bytes())
        kinds = zip(HC18, ("zip", "csv"), strict=True)
        links = (Link(server.url(f"/{name}"), name, kind) for name, kind in kinds)
        yield Links(tuple(links), QUICK)


@pytest.mark.parametrize("ruin", WAYS)
def test_a_damaged_archive_in_the_sources_folder_is_replaced(
    get, hc18_links, drawn, tmp_path, ruin
):
    folder = shutil.copytree(drawn / "hc18", tmp_path / "raw/hc18")
    before = files(folder)
    ruin(folder / HC18[0])
    (folder / HC18[1]).write_bytes(b"")
    outcome = get("hc18", hc18_links)
    assert (outcome.problem, outcome.stock.state) == ("", "here")
    assert outcome.notes == tuple(
        f"{folder / name} was damaged, and a whole one takes its place" for name in HC18
    )
    for name in HC18:
        assert (folder / name).read_bytes() == (drawn / "hc18" / name).read_bytes()
    assert files(tmp_path / "raw") == [f"hc18/{name}" for name in before]


def test_a_damaged_archive_stays_until_a_whole_one_is_there(get, drawn, tmp_path):
    folder = shutil.copytree(drawn / "hc18", tmp_path / "raw/hc18")
    truncate(folder / HC18[0])
    before = (folder / HC18[0]).read_bytes()
    assert "closed" in get("hc18", Fake(fails(MirrorError("closed")))).problem
    assert (folder / HC18[0]).read_bytes() == before


def test_a_whole_archive_with_too_little_in_it_is_named(get, hc18_links, tmp_path):
    mine = tmp_path / "raw/hc18" / HC18[0]
    mine.parent.mkdir(parents=True)
    make_zip(mine, {"training_set/001_HC.png": b"1"})
    for _ in range(2):
        problem = get("hc18", hc18_links).problem
        assert "training_set holds 1 of 16 files" in problem
        assert f"together with what was here before ('{mine}')" in problem
        assert f"move what is in {mine.parent} away and repeat the command" in problem
        assert "refused" not in problem
        assert mine.is_file()
    mine.rename(tmp_path / "away.zip")
    assert get("hc18", hc18_links).stock.state == "here"


def test_a_damaged_archive_in_another_place_is_named(get, drawn, tmp_path):
    mine = tmp_path / "raw/Dataset_BUSI.zip"
    mine.parent.mkdir()
    mine.write_bytes((drawn / "Dataset_BUSI.zip").read_bytes()[:-30])
    problem = get("busi", Fake(brings(drawn, "Dataset_BUSI.zip"))).problem
    assert f"'{mine}': cannot be unpacked" in problem
    assert "move the older files away" in problem
    mine.unlink()
    assert get("busi", Fake()).stock.state == "here"


def test_what_lies_in_the_sources_folder_is_kept_and_completed(get, drawn, tmp_path):
    """HC18's zip from a browser, without its table."""
    folder = tmp_path / "raw/hc18"
    folder.mkdir(parents=True)
    mine = (drawn / "hc18/training_set.zip").read_bytes()
    (folder / "training_set.zip").write_bytes(mine)
    way = Fake(brings(drawn, "hc18/training_set_pixel_size_and_HC.csv"))
    assert get("hc18", way).stock.state == "here"
    assert files(folder) == ["training_set.zip", "training_set_pixel_size_and_HC.csv"]
    assert (folder / "training_set.zip").read_bytes() == mine


def test_a_clash_with_what_was_there_is_told(get, drawn, tmp_path):
    picture = tmp_path / "raw/busi/mine/benign/benign (1).png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"mine")
    problem = get("busi", Fake(brings(drawn, "Dataset_BUSI.zip"))).problem
    assert "move the older files away" in problem


def test_a_second_process_waits_and_fetches_nothing(get, drawn):
    begun, let_go = threading.Event(), threading.Event()

    def slowly(into, have):
        begun.set()
        assert let_go.wait(20)
        brings(drawn, "Dataset_BUSI.zip")(into, have)

    first, second = Fake(slowly), Fake(fails(AssertionError("fetched twice")))
    got = []
    threads = [
        threading.Thread(target=lambda way=way: got.append(get("busi", way)))
        for way in (first, second)
    ]
    threads[0].start()
    assert begun.wait(20)
    threads[1].start()
    let_go.set()
    for thread in threads:
        thread.join()
    assert {outcome.stock.state for outcome in got} == {"here"}
    assert not second.gone


def test_dataset_b_is_never_fetched_and_its_steps_are_told(get, monkeypatch):
    monkeypatch.setattr(plan, "_try_all", fails(AssertionError()))
    assert MIRRORS["udiat"].ways == ()
    outcome = get("udiat", udiat=MIRRORS["udiat"])[0]
    assert outcome.by_hand
    for step in (
        "1. print http://",
        "BUS_ReleaseAgreement.pdf",
        "2. fill it in, sign it",
        "4. put",
    ):
        assert step in outcome.problem


def test_a_folder_that_cannot_be_written_is_told(get, tmp_path):
    (tmp_path / "raw").write_text("a file")
    problem = get("busi", Fake()).problem
    assert "raw cannot be written" in problem
    assert "choose another --raw" in problem


def test_plain_links_come_from_a_server(get, drawn, tmp_path):
    with serving() as server:
        archive = (drawn / "hc18/training_set.zip").read_bytes()
        table = (drawn / "hc18/training_set_pixel_size_and_HC.csv").read_bytes()
        server.add("/training_set.zip", archive, [status(503)])
        server.add("/t.csv", table)
        links = Links(
            (
                Link(server.url("/training_set.zip"), "training_set.zip", size=len(archive)),
                Link(server.url("/t.csv"), "training_set_pixel_size_and_HC.csv", "csv"),
            ),
            QUICK,
        )
        outcome = get("hc18", links)
    assert (outcome.problem, outcome.stock.found) == ("", IMAGES)
    assert outcome.notes == ("training_set.zip is the archive that others report",)
    assert len(files(tmp_path / "raw/hc18")) == 2


def test_a_page_in_place_of_a_link_is_told(get, tmp_path):
    with serving() as server:
        server.add("/x.zip", b"", [page(b"Sign in")] * 9)
        problem = get("busi", Links((Link(server.url("/x.zip"), "x.zip"),), QUICK)).problem
    assert server.url("/x.zip") in problem
    assert not (tmp_path / "raw/busi").exists()


def test_every_source_has_a_way_or_steps_and_none_is_asked_twice():
    assert MIRRORS.keys() == SOURCES.keys()
    for name, mirrors in MIRRORS.items():
        hosts = [way.host for way in mirrors.ways]
        assert hosts or mirrors.by_hand
        assert len(set(hosts)) == len(hosts), "the host names the folder of what is under way"
        assert (mirrors.folder or name) in SOURCES


@pytest.mark.parametrize("name", sorted(MIRRORS))
def test_fetched_archives_have_names_that_their_source_knows(name):
    """In the source's folder any name does; Drive's archive serves three sources by its own."""
    folder = MIRRORS[name].folder or name
    assert folder == name or folder in SOURCES[name].card.folders
