"""A run on a data set of the Hub: fetched once, pinned to a commit, cited by record and report."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hub_server import Repository, serving, use
from huggingface_hub import constants
from small_runs import small_run
from typer.testing import CliRunner

from benchmark import hub_data, record
from benchmark.cli import app
from benchmark.dataset import DatasetError, load, native, open_dataset
from benchmark.hub_data import Reference, open_data
from benchmark.record import DatasetEntry
from benchmark.report import report
from benchmark.resolve import resolve
from benchmark.run import run
from dataset_builders.publish.folder import assemble

WHOLE = "hf:lab/usbench@v1.0.0"


@pytest.fixture(scope="module")
def published(small_data, tmp_path_factory):
    """Path -> bytes of the published tree."""
    folder = tmp_path_factory.mktemp("published") / "tree"
    assemble(small_data, folder, "lab/usbench", "v1.0.0")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def hub(published, monkeypatch, tmp_path):
    with serving() as server:
        repo = server.repos["lab/usbench"] = Repository()
        repo.tags["v1.0.0"] = repo.commit(published)
        repo.commit({**published, "README.md": b"newer"})
        server.repos["lab/thesis"] = Repository()
        server.repos["lab/thesis"].commit({"thesis.txt": b"years of work", "big.parquet": b"0"})
        use(monkeypatch, server, tmp_path / "hub", token=None)
        yield server


def test_a_run_keeps_and_cites_the_revision_it_saw(hub, small_data, tmp_path):
    """FH and LA have all their pictures."""
    path = run(small_run(Path(WHOLE), tmp_path / "results", tasks=("FH", "LA")))
    kept = record.load(path).dataset
    commit = hub.repos["lab/usbench"].tags["v1.0.0"]
    assert json.loads(path.read_text())["dataset"]["published"] == {
        "repo": "lab/usbench", "revision": "v1.0.0", "commit": commit,
    }  # fmt: skip
    assert kept.content_sha256 == open_dataset(small_data).content_sha256
    text = " ".join(report(tmp_path / "results", format="md").split())
    assert f"from hf:lab/usbench@v1.0.0 (commit {commit[:12]})." in text


def test_the_same_run_on_the_folder_gives_the_same_scores(hub, small_data, tmp_path):
    request = small_run(Path(WHOLE), tmp_path / "hub_results", tasks=("FH",))
    fetched = run(request)
    built = run(replace(request, data=small_data, results=tmp_path / "results"))
    names = [path.with_suffix(".parquet").read_bytes() for path in (fetched, built)]
    assert names[0] == names[1]
    assert record.load(built).dataset.published is None


def test_without_a_revision_the_newest_is_resolved(hub):
    found = open_data(Path("hf:lab/usbench")).published
    assert found is not None
    assert (found.revision, found.commit) == ("main", hub.repos["lab/usbench"].head)
    assert found.commit != hub.repos["lab/usbench"].tags["v1.0.0"]


def test_it_is_downloaded_once_and_then_needs_no_network(hub, monkeypatch):
    first = open_data(Path(WHOLE))
    files = len([call for call in hub.seen if call.startswith("GET") and ".parquet" in call])
    assert files == 16
    assert not [call for call in hub.seen if "README.md" in call]
    assert open_data(Path(WHOLE)) == first
    assert len([c for c in hub.seen if c.startswith("GET") and ".parquet" in c]) == files
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert open_data(Path(WHOLE)) == first


def test_tasks_that_lack_pictures_are_refused_before_training(hub, tmp_path):
    request = small_run(Path(WHOLE), tmp_path / "results", tasks=("FH", "BC", "MD"))
    with pytest.raises(DatasetError) as refused:
        run(request)
    message = str(refused.value)
    assert "BC: 24 of busi, 24 of udiat" in message
    assert "MD: " in message
    assert f"usbench build-data --complete {WHOLE}" in message
    assert "--task FH --task LA" in message
    assert "--task BC" not in message
    with pytest.raises(DatasetError, match="may not be re-hosted"):
        resolve(replace(request, tasks=()))
    assert not (tmp_path / "results").exists()


def test_no_way_leads_to_a_picture_that_is_not_there(hub):
    dataset = open_data(Path(WHOLE))
    for read in (lambda: load(dataset, "TG", "train", 32), lambda: native(dataset, "TG", "test")):
        with pytest.raises(DatasetError, match="TG: 24 of tg3k"):
            read()
    with pytest.raises(DatasetError, match=f"{dataset.root} lacks pictures"):
        open_dataset(dataset.root)  # as figures and pages do


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:usbench", "write it as hf:ORG/NAME@REVISION"),
        ("hf:", "write it as hf:ORG/NAME@REVISION"),
        ("hf:a/b/c", "write it as hf:ORG/NAME@REVISION"),
        ("hf:lab/usbench@", "write it as hf:ORG/NAME@REVISION"),
        ("hf:lab/-us", "write it as hf:ORG/NAME@REVISION"),
        ("hf:lab/us--bench@v1", "write it as hf:ORG/NAME@REVISION"),
        ("hf:lab/us bench@v1", "write it as hf:ORG/NAME@REVISION"),
        ("hf:lab/nothing", "no such repository"),
        ("hf:lab/usbench@v9", "no revision v9"),
        ("hf:lab/thesis", "holds no data set of usbench"),
    ],
)
def test_what_cannot_be_had_is_one_clear_error(hub, name, message):
    with pytest.raises(DatasetError, match=message):
        open_data(Path(name))
    assert not [call for call in hub.seen if ".parquet" in call]


def test_the_command_takes_such_a_name(hub, tmp_path):
    words = ["run", "--method", "unet", "--split", "1_4", "--results", str(tmp_path / "results")]
    done = CliRunner().invoke(app, [*words, "--data", "hf:lab/usbench@v9"])
    assert done.exit_code == 2
    assert "hf:lab/usbench@v9: the repository has no revision v9" in done.output


@pytest.fixture
def no_waiting(monkeypatch):
    """The library waits between its attempts, of which there must be none."""

    def waited(seconds: float) -> None:
        raise AssertionError(f"waited for {seconds} s")

    monkeypatch.setattr(time, "sleep", waited)


def test_without_a_network_the_copy_is_used_at_once(hub, monkeypatch, no_waiting):
    first = open_data(Path(WHOLE))
    monkeypatch.setattr(constants, "ENDPOINT", "http://no.such.host.invalid")
    before = len(hub.seen)
    assert open_data(Path(WHOLE)) == first
    assert len(hub.seen) == before


def test_behind_a_proxy_the_hub_itself_need_not_be_reached(monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "https://no.such.host.invalid")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert not hub_data._is_reachable()
    monkeypatch.setenv("https_proxy", "http://proxy.invalid")
    assert hub_data._is_reachable()


@pytest.mark.parametrize("command", ["verify-data", "leakage", "cite", "diff-data", "build-data"])
def test_every_command_on_data_sets_takes_such_a_name(hub, small_data, tmp_path, command):
    words = {
        "verify-data": ["{}"],
        "leakage": ["{}"],
        "cite": ["--dataset", "{}"],
        "diff-data": ["{}", str(small_data)],
        "build-data": ["--complete", "{}", "--raw", str(tmp_path), "--out", str(tmp_path / "o")],
    }[command]

    def said(name: str) -> str:
        return CliRunner().invoke(app, [command, *(word.format(name) for word in words)]).output

    assert "Error: hf:lab: write it as hf:ORG/NAME@REVISION" in said("hf:lab")
    expected = {
        "verify-data": f"{WHOLE}: proven, ",
        "leakage": "was published without the pictures of busi",
        "cite": "@article{aldhabyani2020busi,",
        "diff-data": "equal in content",
        "build-data": "are not in",
    }
    assert expected[command] in said(WHOLE)


def test_without_a_network_and_a_copy_it_says_so(monkeypatch, tmp_path, no_waiting):
    with serving() as server:
        use(monkeypatch, server, tmp_path / "hub", token=None)
    with pytest.raises(DatasetError, match="cannot be reached"):
        open_data(Path(WHOLE))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DatasetError, match="cannot be reached"):
        open_data(Path(WHOLE))


def test_records_from_before_say_nothing_of_the_hub(finished_fields):
    assert finished_fields.dataset == DatasetEntry("0" * 64, (), {"FH": (600, 200)}, None)


@pytest.fixture
def finished_fields(tmp_path):
    """A record whose data set has the three fields of old."""
    old = Path(__file__).parents[2] / "results" / "mini" / "runs"
    path = next(iter(sorted(old.rglob("seed0.json"))))
    fields = json.loads(path.read_text())
    fields["dataset"] = {"content_sha256": "0" * 64, "partial": [], "images": {"FH": [600, 200]}}
    (tmp_path / "old.json").write_text(json.dumps(fields))
    return record.load(tmp_path / "old.json")


def test_a_reference_reads_back_as_it_was_written():
    assert str(Reference.parse(WHOLE)) == WHOLE
    assert str(Reference.parse("hf:a-b/c.d_e")) == "hf:a-b/c.d_e@main"


def test_a_data_set_of_the_hub_is_made_whole_by_the_commands(hub, small_data, tmp_path):
    """With the user's own archives; the result is the data set that was published."""

    def usbench(*words):
        return CliRunner().invoke(app, list(map(str, words)))

    made, raw = tmp_path / "data", ("--raw", small_data.parent / "raw")
    differs = usbench("diff-data", WHOLE, small_data)
    assert differs.exit_code == 0, differs.output
    done = usbench("build-data", "--complete", WHOLE, *raw, "--out", made)
    assert done.exit_code == 0, done.output
    content = open_dataset(small_data).content_sha256
    assert f"content {content[:12]}, as published" in done.output
    assert usbench("verify-data", made).exit_code == 0
    assert usbench("diff-data", made, small_data).exit_code == 0


def test_what_lacks_pictures_is_told_and_not_searched_for_duplicates(hub, tmp_path):
    words = [
        "build-data",
        "--complete",
        WHOLE,
        "--raw",
        str(tmp_path),
        "--out",
        str(tmp_path / "o"),
    ]
    nothing = CliRunner().invoke(app, words)
    assert nothing.exit_code == 2
    assert "are not in" in nothing.output
    assert not (tmp_path / "o").exists()
    partly = CliRunner().invoke(app, [*words, "--allow-missing"])
    assert partly.exit_code == 0, partly.output
    assert "still without pictures: busi (BC)" in partly.output
    searched = CliRunner().invoke(app, ["leakage", str(tmp_path / "o")])
    assert searched.exit_code == 2
    assert "was published without the pictures of" in searched.output
    mixed = CliRunner().invoke(app, [*words, "--source", "busi"])
    assert mixed.exit_code == 2
    assert "leave --source" in mixed.output
