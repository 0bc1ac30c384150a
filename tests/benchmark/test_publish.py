"""`usbench publish` against a Hub on this machine."""

import json

import pyarrow.parquet as pq
import pytest
import typer
from hub_server import TOKEN, Repository, serving, use
from typer.testing import CliRunner

from benchmark.commands.publish import publish

app = typer.Typer()
app.command()(publish)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with serving() as server:
        use(monkeypatch, server, tmp_path / "hub")
        yield server


def published(data, *words):
    return CliRunner().invoke(app, [str(data), "--repo", "lab/usbench", *words])


def test_a_new_repository_holds_the_tree_and_its_tag(hub, small_data):
    done = published(small_data, "--private", "--tag", "v1.0.0")
    assert done.exit_code == 0, done.output
    repo = hub.repos["lab/usbench"]
    assert repo.private
    assert repo.tags == {"v1.0.0": repo.head}
    manifest = json.loads(repo.files["manifest.json"])
    names = {entry["name"] for entry in manifest["files"]}
    assert len(names) == 16
    assert names | {"README.md", "LICENSES.md", "croissant.json", "eval.yaml"} < set(repo.files)
    assert "splits/BC/1_16.txt" in repo.files
    assert done.stdout.splitlines()[-1] == "published: hf:lab/usbench@v1.0.0"


def test_no_withheld_picture_reaches_the_hub(hub, small_data, tmp_path):
    """By the bytes that arrived: not one of these images or masks is among them."""
    assert published(small_data).exit_code == 0
    repo = hub.repos["lab/usbench"]
    withheld = set(json.loads(repo.files["manifest.json"])["withheld"])
    assert {"busi", "udiat", "hmc_qu", "tg3k", "ddti"} <= withheld
    sent = b"".join([*repo.files.values(), *hub.blobs.values()])
    kept = 0
    for shard in small_data.glob("*/*.parquet"):
        for row in pq.read_table(shard, columns=["source", "image", "mask"]).to_pylist():
            for picture in (row["image"]["bytes"], row["mask"]["bytes"]):
                assert (picture in sent) != (row["source"] in withheld)
                kept += row["source"] not in withheld
    assert kept > 100


def test_what_an_earlier_version_had_and_this_one_has_not_goes(hub, small_data):
    old = {
        "manifest.json": b"{}",
        "BC/train-00001-of-00002.parquet": b"pictures",
        ".gitattributes": b"",
    }
    hub.repos["lab/usbench"] = Repository()
    hub.repos["lab/usbench"].commit(old)
    assert published(small_data).exit_code == 0
    files = hub.repos["lab/usbench"].files
    assert set(old) - set(files) == {"BC/train-00001-of-00002.parquet"}


def test_a_tag_that_exists_is_refused_before_anything_is_uploaded(hub, small_data):
    repo = hub.repos["lab/usbench"] = Repository()
    repo.tags["v1.0.0"] = repo.head
    done = published(small_data, "--tag", "v1.0.0")
    assert done.exit_code == 2
    assert "has a tag v1.0.0 already" in done.output
    assert not [call for call in hub.seen if call.startswith(("POST", "PUT"))]


def test_the_same_data_again_under_a_new_tag_sends_no_picture_twice(hub, small_data):
    assert published(small_data, "--tag", "v1.0.0").exit_code == 0
    before = len([call for call in hub.seen if call.startswith("PUT")])
    assert published(small_data, "--tag", "v2.0.0").exit_code == 0
    assert len([call for call in hub.seen if call.startswith("PUT")]) == before
    assert set(hub.repos["lab/usbench"].tags) == {"v1.0.0", "v2.0.0"}


def test_a_repository_of_something_else_is_left_alone(hub, small_data):
    hub.repos["lab/usbench"] = Repository()
    hub.repos["lab/usbench"].commit({"thesis.txt": b"years of work"})
    done = published(small_data)
    assert done.exit_code == 2
    assert "holds something else (no manifest.json)" in done.output
    assert hub.repos["lab/usbench"].files == {"thesis.txt": b"years of work"}


def test_a_public_repository_is_not_taken_for_a_private_one(hub, small_data):
    hub.repos["lab/usbench"] = Repository(private=False)
    done = published(small_data, "--private")
    assert done.exit_code == 2
    assert "lab/usbench is public" in done.output


def test_without_the_right_to_write_nothing_is_uploaded(hub, small_data, monkeypatch):
    hub.repos["lab/usbench"] = Repository()
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_reader")
    done = published(small_data)
    assert done.exit_code == 2
    assert "may write there" in done.output
    assert "Traceback" not in done.output
    assert TOKEN not in done.output
    assert not hub.repos["lab/usbench"].files


def test_without_a_token_the_hub_is_not_asked(hub, small_data, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    done = published(small_data)
    assert done.exit_code == 2
    assert "hf auth login" in done.output
    assert done.stdout == ""  # nor is anything assembled
    assert hub.seen == []


def test_without_a_network_there_is_one_clear_error(small_data, monkeypatch, tmp_path):
    with serving() as server:
        use(monkeypatch, server, tmp_path / "hub")
    done = published(small_data)  # the server is gone
    assert done.exit_code == 2
    assert "cannot be reached" in done.output
    assert "--dry-run" in done.output


def test_a_dry_run_prints_tree_and_calls_and_asks_nobody(hub, small_data, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    done = published(small_data, "--dry-run", "--tag", "v1.0.0")
    assert done.exit_code == 0, done.output
    assert hub.seen == []
    lines = done.output.splitlines()
    manifest = json.loads((small_data / "manifest.json").read_text())
    for entry in manifest["files"]:
        (line,) = (line for line in lines if line.split()[0] == entry["name"])
        assert line.split()[3:] == [str(entry["rows"]), "rows"]
    calls = lines[lines.index("nothing was uploaded; these calls would be made:") + 1 :]
    names = ["auth_check", "create_repo", "upload_folder", "create_tag"]
    assert [call.split("(")[0].strip() for call in calls] == names
    assert "licence: none for these files\n" in done.output  # mmotu: not that of another copy
    assert "licence: CC-BY-4.0" not in done.output
    assert not list(small_data.parent.glob(".usbench-*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--repo", "usbench"], "ORG/NAME"),
        (["--repo", "a/b/c"], "ORG/NAME"),
        (["--repo", "a/-b"], "ORG/NAME"),
        (["--repo", "a/b.git"], "ORG/NAME"),
        (["--repo", "a/" + "b" * 96], "ORG/NAME"),
        (["--repo", "lab/usbench", "--tag", "v1 beta"], "--tag v1 beta"),
        (["--repo", "lab/usbench", "--tag", "main"], "--tag main"),
        (["--repo", "lab/usbench", "--tag", "first"], "three numbers, like v1.0.0"),
        (["--repo", "lab/usbench", "--tag", "v1"], "three numbers, like v1.0.0"),
    ],
)
def test_malformed_names_are_one_clear_error(small_data, words, message):
    done = CliRunner().invoke(app, [str(small_data), *words, "--dry-run"])
    assert done.exit_code == 2
    assert message in done.output


def test_a_folder_of_something_else_is_refused(tmp_path):
    done = published(tmp_path, "--dry-run")
    assert done.exit_code == 2
    assert "usbench build-data" in done.output
