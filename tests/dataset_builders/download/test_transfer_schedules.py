"""200 schedules of faults, drawn by chance: the right file or a clear error, and nothing else.

Each has one to three mirrors with faults of their own, calls that fail or are interrupted, and at
the end servers that behave: then the file must come, whatever the earlier calls left behind.
"""

import hashlib
import io
import random
import zipfile
from dataclasses import replace

import misbehaving_server as bad
import pytest
from transfer_cases import QUICK, archive

from dataset_builders.download.transfer import DownloadError, Expected, fetch

LENGTH = len(archive(0))
HASTY = replace(QUICK, attempts=3, silence=0.1, window=0.05)


def table(seed):
    rng = random.Random(seed)
    return b"name,mm\n" + b"".join(b"%03d,%03d\n" % (i, rng.randrange(1000)) for i in range(750))


def draw_fault(rng, new, checkable):
    """What is wrong with one answer: with what it holds, with how it ends, or with all of it.

    Args:
        rng: decides.
        new: makes the next version of the file.
        checkable: whether the content can tell that it is wrong; if not, the server may be broken
            in every way but one: what it says of its answer is true.
    """
    place, rest = rng.randrange(LENGTH), rng.choice([None, rng.randrange(LENGTH)])
    holds = [
        lambda: bad.changed(new()),
        lambda: bad.spliced(new()),
        lambda: bad.shifted(rng.choice([-700, -1, 1, 700]), admitted=True),
        lambda: bad.whole,
    ]
    ends = [
        *[lambda: bad.drop(place)] * 4,  # the commonest, and what the others follow upon
        lambda: bad.announce(rng.choice([1, 700])),
        lambda: bad.chunked(rest),
    ]
    replies = [
        lambda: bad.hang_up,
        lambda: bad.status(rng.choice([429, 500, 502, 503, 504]), Retry_After="0"),
        lambda: bad.status(rng.choice([200, 206, 401, 403, 404, 410, 416]), b"no"),
        lambda: bad.page(),
        lambda: bad.encoded,
        lambda: bad.round_in_circles,
        lambda: bad.silence(place),
        lambda: bad.drip,
    ]
    if checkable:
        holds += [
            lambda: bad.spliced(new(), silent=True),
            lambda: bad.shifted(rng.choice([-700, -1, 1, 700]), admitted=False),
            lambda: bad.flipped(rng.uniform(0.1, 0.9)),
        ]
        ends += [
            lambda: bad.announce(rng.choice([-700, -1])),
            lambda: bad.chunked(more=b"<br>warning"),
            lambda: bad.unannounced(rest),
        ]
    chance = rng.random()
    if chance < 0.2:
        return rng.choice(replies)()
    if chance < 0.4:
        return bad.both(rng.choice(holds)(), rng.choice(ends)())
    return rng.choice(holds + ends * 2)()


def draw_expected(rng, content, kind):
    """What is known of the file: nothing, its size, a digest, or both."""
    size = rng.choice([None, len(content)])
    name = rng.choice(["sha256", "md5"])
    digest = rng.choice([{}, {name: hashlib.new(name, content).hexdigest()}])
    return Expected(kind=kind, size=size, **digest)


def interrupting(rng):
    """A report that presses Ctrl-C after some bytes of this call, or (mostly) never does."""
    left = rng.choice([1, 3, 10**9, 10**9, 10**9])

    def report(done, total):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    return report


def content_of(data, expected):
    """What must be right: every byte, or every member of a zip without a digest."""
    if expected.kind == "csv" or expected.sha256 or expected.md5:
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.mark.parametrize("seed", range(200))
def test_the_right_file_or_an_error(server, tmp_path, seed):
    rng, target = random.Random(seed), tmp_path / "x"
    kind, make = rng.choice([("zip", archive), ("zip", archive), ("csv", table)])
    versions = [make(seed)]

    def new():
        versions.append(make(1000 * seed + len(versions)))
        return versions[-1]

    expected = draw_expected(rng, versions[0], kind)
    checkable = kind == "zip" or bool(expected.sha256 or expected.md5)
    traits = {name: rng.random() < 0.85 for name in ("ranges", "tagged", "dated")}
    paths = [f"/{seed}/{mirror}" for mirror in range(rng.randint(1, 3))]
    files = [
        server.add(
            path,
            versions[0],
            [draw_fault(rng, new, checkable) for _ in range(rng.randint(1, 6))],
            weak=rng.random() < 0.2,
            **traits,
        )
        for path in paths
    ]
    urls = [server.url(path) for path in paths]
    patience = replace(HASTY, worthwhile=rng.choice([1, 1500, 10**9]))

    for _ in range(3):
        if call_once(urls, target, expected, patience, interrupting(rng), versions):
            break
    for file in files:
        file.faults.clear()
    came = call_once(urls, target, expected, patience, lambda done, total: None, versions)
    assert came or not any(fits(file.content, expected) for file in files)


def fits(data, expected):
    right = {len(data), *(hashlib.new(name, data).hexdigest() for name in ("sha256", "md5"))}
    return {expected.size, expected.sha256, expected.md5} <= right | {None}


def call_once(urls, target, expected, patience, report, versions):
    """Fetch, and look at what is there afterwards; returns whether the file came."""
    message = None
    try:
        fetch(urls, target, expected, report=report, patience=patience)
    except KeyboardInterrupt:
        message = "Ctrl-C"
    except DownloadError as error:
        message = str(error)
    if message != "Ctrl-C":
        assert target.exists() == (message is None)
        assert message is None or all(url in message for url in urls)
    left = {path.name for path in target.parent.iterdir()}
    if target.exists():
        assert left == {"x"}
        rights = [content_of(version, expected) for version in versions]
        assert content_of(target.read_bytes(), expected) in rights
    assert left <= {"x"} or left <= {"x.part", "x.part.json"}  # and no lock
    return target.exists()
