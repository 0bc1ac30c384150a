"""A file that is fetched is whole and right, or it is not there and the error says why."""

import hashlib
import resource
import shutil
from collections import namedtuple
from dataclasses import replace

import misbehaving_server as bad
import pytest
from transfer_cases import HALF, NEW, OLD, QUICK, archive

from dataset_builders.download import transfer
from dataset_builders.download.expected import UNKNOWN
from dataset_builders.download.transfer import DownloadError, Expected, fetch

CSV = Expected(kind="csv")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "raw" / "x.zip"


@pytest.fixture
def waits(monkeypatch):
    seconds = []
    monkeypatch.setattr(transfer.time, "sleep", seconds.append)
    return seconds


@pytest.fixture
def get(server, target):
    """Offer a file with these faults, fetch it, and look at what is left behind."""

    def get(*faults, content=OLD, right=None, expected=UNKNOWN, patience=QUICK, **traits):
        path = f"/{len(server.files)}"
        get.file = server.add(path, content, faults, **traits)
        fetch([server.url(path)], target, expected, patience=patience)
        assert target.read_bytes() == (right or get.file.content)
        assert [path.name for path in target.parent.iterdir()] == ["x.zip"]
        return get.file

    return get


def part(target):
    return target.with_name("x.zip.part")


def test_a_file_is_fetched_once(get, target):
    assert len(get().seen) == 1
    get(bad.status(500))  # not asked again
    assert get.file.seen == []


def test_progress_is_told(server, target):
    server.add("/progress", OLD, [bad.drop(HALF)])
    seen = []
    fetch([server.url("/progress")], target, patience=QUICK, report=lambda *args: seen.append(args))
    done = [done for done, _ in seen]
    assert done == sorted(done)  # what was there counts from the beginning
    assert done[0] == 0
    assert HALF in done
    assert {total for _, total in seen} == {len(OLD)}
    assert seen[-1] == (len(OLD), len(OLD))


def test_a_broken_transfer_goes_on_where_it_stopped(get):
    file = get(bad.drop(1000), bad.drop(1000), bad.hang_up)
    assert [seen.get("range") for seen in file.seen] == [
        None,
        "bytes=1000-",
        "bytes=2000-",
        "bytes=2000-",
    ]
    assert file.seen[1]["if-range"] == '"version-0"'
    assert {seen["accept-encoding"] for seen in file.seen} == {"identity"}


@pytest.mark.parametrize("traits", [{"tagged": False}, {"weak": True}], ids=str)
def test_a_date_serves_where_there_is_no_strong_tag(get, traits):
    file = get(bad.drop(HALF), **traits)
    assert file.seen[1]["if-range"] == file.modified
    assert file.seen[1]["range"] == f"bytes={HALF}-"


def test_nothing_is_resumed_without_proof(get):
    file = get(bad.drop(HALF), tagged=False, dated=False)
    assert "range" not in file.seen[1]


def test_a_digest_is_proof_too(get):
    right = Expected(sha256=hashlib.sha256(OLD).hexdigest().upper())
    file = get(bad.drop(HALF), tagged=False, dated=False, expected=right)
    assert file.seen[1]["range"] == f"bytes={HALF}-"


@pytest.mark.parametrize(
    "faults",
    [
        [bad.drop(HALF), bad.changed(NEW)],
        [bad.drop(HALF), bad.spliced(NEW)],
        [bad.drop(HALF), bad.spliced(NEW, silent=True)],
        [bad.drop(HALF), bad.spliced(archive(1, 9000))],
        [bad.drop(HALF), bad.spliced(archive(1, 2000))],  # shorter than what has come: 416
    ],
    ids=["200", "206 of another tag", "206 of no tag", "longer", "shorter"],
)
def test_a_file_that_changed_is_started_again(get, faults):
    file = get(*faults)
    assert file.version == 1


def test_versions_without_tags_are_never_joined(get):
    # dates alike, If-Range taken for honoured: only the CRC can tell
    file = get(bad.drop(HALF), bad.spliced(NEW, silent=True), tagged=False)
    assert file.content == NEW
    assert "range" not in file.seen[2]


@pytest.mark.parametrize(
    "fault",
    [
        bad.changed(b"x,y\n" * 500),
        bad.spliced(b"x,y\n" * 500),
        bad.spliced(b"x,y\n" * 100),
        bad.shifted(500, admitted=True),
    ],
    ids=["If-Range honoured", "If-Range ignored", "shorter: 416", "another part"],
)
@pytest.mark.parametrize("traits", [{}, {"tagged": False}], ids=["ETag", "date"])
def test_a_table_is_never_joined_though_no_checksum_would_tell(get, fault, traits):
    file = get(bad.drop(1000), fault, content=b"a,b\n" * 500, expected=CSV, **traits)
    assert len({*file.content.split()}) == 1


@pytest.mark.parametrize("admitted", [True, False])
@pytest.mark.parametrize("by", [500, -500])
def test_another_part_than_asked_for_is_not_joined(get, by, admitted):
    file = get(bad.drop(HALF), bad.shifted(by, admitted))
    assert "range" not in file.seen[-1]


@pytest.mark.parametrize(
    "fault", [bad.announce(10), bad.silence(5000), bad.chunked(after=3000), bad.hang_up]
)
def test_what_broke_off_ends_well(get, fault):
    get(fault, fault)


def test_a_server_without_ranges_is_asked_for_all_again(get):
    get(bad.drop(HALF), bad.drop(HALF + 9), ranges=False)


def interrupted(server, target, fault, after):
    """Fetch until so many bytes have come, and then press Ctrl-C."""

    def interrupt(done, total):
        if done >= after:
            raise KeyboardInterrupt

    server.add("/interrupted", OLD, [fault])
    with pytest.raises(KeyboardInterrupt):
        fetch([server.url("/interrupted")], target, patience=QUICK, report=interrupt)
    assert part(target).read_bytes() == OLD[:after]
    assert not target.exists()
    assert not target.with_name("x.zip.lock").exists()


def test_ctrl_c_leaves_what_has_come(server, target):
    interrupted(server, target, bad.drop(HALF), HALF)
    file = server.add("/interrupted", OLD)
    fetch([server.url("/interrupted")], target)
    assert file.seen[0]["range"] == f"bytes={HALF}-"
    assert target.read_bytes() == OLD


@pytest.mark.parametrize(
    ("fault", "requests"),
    [(bad.announce(0), 0), (bad.chunked(), 1)],
    ids=["length known", "length unknown: 416"],
)
def test_a_part_that_is_whole_is_not_fetched_again(server, target, fault, requests):
    interrupted(server, target, fault, len(OLD))
    file = server.add("/interrupted", OLD)
    fetch([server.url("/interrupted")], target)
    assert len(file.seen) == requests
    assert target.read_bytes() == OLD


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(get, waits, code):
    get(bad.status(code), bad.status(code), patience=replace(QUICK, first_wait=1))
    assert waits == [1, 2]


def test_waits_grow_to_a_limit(get, waits):
    get(*[bad.hang_up] * 5, patience=replace(QUICK, attempts=6, first_wait=1, longest_wait=4))
    assert waits == [1, 2, 4, 4, 4]


def test_progress_is_rewarded(get, waits):
    patience = replace(QUICK, attempts=1, first_wait=1, worthwhile=1000)
    get(*[bad.drop(1000)] * 6, patience=patience)
    assert waits == [1] * 6


def test_a_server_may_ask_for_time(get, waits):
    get(bad.status(503, Retry_After="3"), bad.status(429, Retry_After="soon"))
    assert waits == [3, 0]


def test_but_not_for_all_of_it(get, waits):
    with pytest.raises(DownloadError, match="left alone for 3,600 s"):
        get(bad.status(503, Retry_After="3600"))
    assert waits == []


@pytest.mark.parametrize("code", [401, 403, 404, 410, 418])
def test_a_refusal_is_final(get, code):
    with pytest.raises(DownloadError, match=f"HTTP {code}"):
        get(bad.status(code))
    assert len(get.file.seen) == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (bad.hang_up, "no connection"),
        (bad.status(503), "HTTP 503"),
        (bad.drop(0), "the connection broke"),
        (bad.silence(100), "the connection broke"),
        (bad.drip, "sends only"),
        (bad.announce(-500), "damaged"),
        (bad.chunked(after=100), "the connection broke"),
        (bad.unannounced(3000), "damaged"),
        (bad.chunked(more=b"<br>warning: line 3"), "more behind its end"),
        (bad.flipped(0.3), "CRC"),
        (bad.encoded, "Content-Encoding 'gzip'"),
        (bad.round_in_circles, "more than 10 times"),
        (bad.redirect("ftp://127.0.0.1/x.zip"), "no address"),
        (bad.redirect("http://127.0.0.1:x/"), "no address"),
        (bad.page(), "web page"),
        (bad.status(200, b""), "empty"),
        (bad.status(200, b'{"error": "no"}'), "no zip"),
        (bad.status(200, b"PK\x03\x04 and no more"), "damaged"),
        (bad.status(403, b"<html><title>Quota exceeded"), "HTTP 403.*quota.*in a day"),
        (bad.status(206), "HTTP 206"),
        (bad.status(416), "HTTP 416"),
        (bad.status(204, b""), "HTTP 204"),
    ],
)
def test_what_never_ends_well_is_an_error_that_says_why(get, target, fault, reason):
    with pytest.raises(DownloadError, match=reason) as error:
        get(*[fault] * 4)
    assert get.file.seen
    assert "save it as" in str(error.value)
    assert not target.exists()
    assert not target.with_name("x.zip.lock").exists()
    if part(target).exists():  # only as the beginning of the right file
        assert OLD.startswith(part(target).read_bytes())


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"size": len(OLD) + 1}, f"has {len(OLD)} bytes, {len(OLD) + 1} are right"),
        ({"sha256": "0" * 64}, f"{'0' * 64} is right"),
        ({"md5": "0" * 32}, f"{'0' * 32} is right"),
        ({"kind": "rar"}, "no rar"),
        ({"kind": "csv"}, "no csv"),
    ],
)
def test_another_file_than_expected_is_refused(get, target, wrong, reason):
    with pytest.raises(DownloadError, match=reason):
        get(expected=Expected(**wrong))
    assert not list(target.parent.iterdir())
    assert len(get.file.seen) == 1


def test_a_server_that_sends_more_than_there_is_is_stopped(get, target):
    with pytest.raises(DownloadError, match="more than the 900 bytes"):
        get(bad.chunked(), expected=Expected(size=900))
    assert not list(target.parent.iterdir())


def test_without_any_length_a_part_could_pass_for_the_whole(get):
    table = b"name,mm\n" + b"1,2\n" * 100
    with pytest.raises(DownloadError, match="does not say how long"):
        get(bad.unannounced(), content=table, expected=CSV)
    get(bad.unannounced(), content=table, expected=replace(CSV, size=len(table)))


def test_a_page_in_the_middle_does_not_cost_what_has_come(get, target):
    with pytest.raises(DownloadError, match="quota"):
        get(bad.drop(HALF), bad.page(b"Google Drive", b"Quota exceeded"))
    assert part(target).read_bytes() == OLD[:HALF]


def test_mirrors_are_tried_in_order_and_all_are_named(server, target):
    server.add("/first", OLD, [bad.status(404)])
    server.add("/second", OLD, [bad.page()])
    server.add("/third", OLD)
    urls = [server.url(path) for path in ("/first", "/second", "/third")]
    with pytest.raises(DownloadError) as error:
        fetch(urls[:2], target, patience=QUICK)
    first, second = str(error.value).splitlines()[1:3]
    assert urls[0] in first
    assert "404" in first
    assert urls[1] in second
    assert "log-in" in second
    server.add("/first", OLD, [bad.status(404)])
    fetch(urls, target, patience=QUICK)
    assert target.read_bytes() == OLD


def test_mirrors_are_never_joined(server, target):
    server.add("/a", OLD, [bad.drop(HALF)] + [bad.hang_up] * 4)
    other = server.add("/b", NEW)
    fetch([server.url("/a"), server.url("/b")], target, patience=QUICK)
    assert target.read_bytes() == NEW
    assert "range" not in other.seen[0]


def test_a_mirror_that_was_begun_with_goes_first(server, target):
    server.add("/gone", OLD, [bad.status(404)])
    server.add("/begun", OLD, [bad.drop(HALF)] + [bad.hang_up] * 4)
    with pytest.raises(DownloadError, match=f"{HALF} bytes are kept"):
        fetch([server.url("/gone"), server.url("/begun")], target, patience=QUICK)
    back = server.add("/gone", OLD)
    fetch([server.url("/gone"), server.url("/begun")], target, patience=QUICK)
    assert target.read_bytes() == OLD
    assert back.seen == []


def test_no_address_is_an_error(target):
    with pytest.raises(DownloadError, match="no address is known"):
        fetch([], target)


def test_a_wrong_file_that_is_there_is_left_alone(get, target):
    target.parent.mkdir()
    target.write_bytes(OLD[:-1])
    with pytest.raises(DownloadError, match="is there, but the archive is damaged"):
        get()
    assert target.read_bytes() == OLD[:-1]
    assert get.file.seen == []


def test_a_disk_without_room_is_named_before_a_byte_is_written(get, target, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(5000))
    with pytest.raises(DownloadError, match=r"x\.zip\.part takes .* MB are free"):
        get()
    assert not list(target.parent.iterdir())


def test_a_disk_that_fills_up_keeps_what_has_come(server, target):
    file = server.add("/full", OLD)
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(DownloadError, match=r"File too large.*4096 bytes are kept"):
            fetch([server.url("/full")], target, patience=QUICK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    assert part(target).read_bytes() == OLD[:4096]
    fetch([server.url("/full")], target, patience=QUICK)
    assert file.seen[1]["range"] == "bytes=4096-"
    assert target.read_bytes() == OLD


def test_a_folder_that_is_a_file_is_an_error(get, target):
    target.parent.write_text("")
    with pytest.raises(DownloadError, match="cannot be written"):
        get()
