"""The documents of a published data set, read by the libraries that they are for."""

import json
import sys

import pytest
from huggingface_hub import DatasetCard
from huggingface_hub.errors import HfHubHTTPError

from dataset_builders import citing, phantom
from dataset_builders.build import build
from dataset_builders.parquet import COLUMNS
from dataset_builders.publish import croissant as croissant_module
from dataset_builders.publish.contents import PublishError
from dataset_builders.publish.folder import assemble
from dataset_builders.publish.withheld import withheld_sources
from dataset_builders.sources import SOURCES
from dataset_builders.tasks import TASKS

CONFIGS = ["all", *TASKS]


@pytest.fixture(scope="module")
def loaded(published, tmp_path_factory):
    """Configuration -> its splits, as a user gets them without a network."""
    datasets = pytest.importorskip("datasets")
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        datasets.disable_progress_bars()
        return {
            config: datasets.load_dataset(str(published.folder), config, cache_dir=str(cache))
            for config in CONFIGS
        }


@pytest.mark.parametrize("config", CONFIGS)
def test_every_configuration_loads_with_its_length_and_columns(published, loaded, config):
    tasks = published.contents.manifest["tasks"]
    chosen = TASKS if config == "all" else [config]
    for split in ("train", "test"):
        data = loaded[config][split]
        assert len(data) == sum(tasks[task][split] for task in chosen)
        assert data.column_names == list(COLUMNS)
        assert data.features["image"].__class__.__name__ == "Image"
        assert data.features["mask"].mode == "L"
        assert list(dict.fromkeys(data["task"])) == list(chosen)


def test_pictures_are_pictures_and_what_is_withheld_is_none(loaded):
    withheld = withheld_sources(SOURCES)
    for task in ("FH", "MD", "BC"):
        for row in loaded[task]["test"]:
            if row["source"] in withheld:
                assert row["image"] is row["mask"] is None
            else:
                assert (row["image"].mode, row["mask"].mode) == ("L", "L")
                assert row["image"].size == row["mask"].size == (row["width"], row["height"])


def test_ranks_make_the_labelled_sets(published, loaded):
    """As the card says: the first ranks."""
    for task in TASKS:
        for name in ("1_16", "1_8", "1_4"):
            ids = (published.folder / f"splits/{task}/{name}.txt").read_text().split("\n")[:-1]
            assert loaded[task]["train"].select(range(len(ids)))["id"][:] == ids


def test_the_default_is_all(published, loaded, tmp_path):
    datasets = pytest.importorskip("datasets")
    data = datasets.load_dataset(str(published.folder), cache_dir=str(tmp_path))
    assert {split: len(rows) for split, rows in data.items()} == {
        split: len(rows) for split, rows in loaded["all"].items()
    }


@pytest.fixture(scope="module")
def card(published) -> DatasetCard:
    return DatasetCard.load(published.folder / "README.md")


def test_the_front_matter_counts_what_is_there(published, card):
    data = card.data.to_dict()
    assert (data["license"], data["license_name"]) == ("other", "mixed-per-source")
    assert (published.folder / data["license_link"]).is_file()
    assert data["size_categories"] == ["n<1K"]
    assert {"medical", "ultrasound", "arxiv:2511.15057"} <= set(data["tags"])
    assert {config["config_name"]: config.get("default", False) for config in data["configs"]} == {
        config: config == "all" for config in CONFIGS
    }
    for info in data["dataset_info"]:
        chosen = TASKS if info["config_name"] == "all" else [info["config_name"]]
        files = [path for task in chosen for path in (published.folder / task).iterdir()]
        assert info["download_size"] == sum(path.stat().st_size for path in files)
        assert info["dataset_size"] == sum(split["num_bytes"] for split in info["splits"])
        assert [feature["name"] for feature in info["features"]] == list(COLUMNS)


def test_the_text_says_what_is_partial_withheld_and_whose(published, card):
    text = " ".join(card.text.split())
    manifest = published.contents.manifest
    assert manifest["content_sha256"] in text
    assert "**Partial.** BC, FH, LA, LV, MD, OT, TG, TN" in text
    assert "usbench build-data --raw raw --complete hf:lab/usbench@v1.0.0 --out data" in text
    for name, source in SOURCES.items():
        if name in withheld_sources(SOURCES):
            assert source.card.access.replace("|", r"\|") in text
    for code, task in manifest["tasks"].items():
        assert f"| {code} | {TASKS[code].name} | {task['train']} | {task['test']} |" in text
    for line in citing.text(citing.references(SOURCES)).splitlines():
        assert card.text.count(f"- {line}\n") == 1
    assert "usbench verify-data hf:lab/usbench@v1.0.0" in text
    assert "alone gives the same" not in text  # it is partial
    assert "\n> - Lacks busi: " in card.text
    assert "{{" not in text
    assert "None" not in card.text.replace("is not None", "")


@pytest.fixture(scope="module")
def small_card(tmp_path_factory) -> DatasetCard:
    """Of a data set of one task from one source."""
    root = tmp_path_factory.mktemp("one")
    phantom.write(root / "raw", images=16, size=64, sources=["hc18"])
    build(root / "raw", root / "data", sources=["hc18"], allow_missing=True)
    assemble(root / "data", root / "published", "lab/usbench", "main")
    return DatasetCard.load(root / "published/README.md")


def test_a_card_speaks_of_what_is_there_alone(small_card):
    text = " ".join(small_card.text.split())
    assert "1 segmentation task in ultrasound from 1 public source, with" in text
    assert "**Partial.** FH: fewer images" in text
    assert "Not here: BC, LA, LV, MD, OT, TG, TN" in text
    assert "Withheld" not in text
    assert "alone gives the same" not in text
    assert not [name for name in ("CAMUS", "BUSI", "MMOTU", "TN3K", "Dataset B") if name in text]
    lines = citing.text(citing.references(["hc18"])).splitlines()
    assert small_card.text.rstrip().splitlines()[-len(lines) :] == [f"- {line}" for line in lines]


def test_licences_are_told_by_source(published):
    text = (published.folder / "LICENSES.md").read_text()
    for name in SOURCES:
        assert f"| {name} |" in text
    (line,) = (line for line in text.splitlines() if line.startswith("Without pictures here"))
    assert set(line.rstrip(".").partition(": ")[2].split(", ")) == withheld_sources(SOURCES)


def test_croissant_is_valid_and_complete(published):
    mlcroissant = pytest.importorskip("mlcroissant")
    path = published.folder / "croissant.json"
    issues = mlcroissant.Dataset(jsonld=path).metadata.ctx.issues
    assert not issues.errors
    # a date would make equal data unequal
    assert [text for text in issues.warnings if "datePublished" not in text] == []
    said = json.loads(path.read_text())
    assert said["conformsTo"] == croissant_module.STANDARDS
    assert [records["@id"] for records in said["recordSet"]] == list(TASKS)
    for records in said["recordSet"]:
        assert [field["name"] for field in records["field"]] == list(COLUMNS)
    terms = {name for name in said if name.startswith("rai:")}
    assert {"rai:dataLimitations", "rai:dataBiases", "rai:personalSensitiveInformation"} <= terms
    assert "busi: pictures of" in said["rai:dataCollectionMissingData"]
    assert said["citeAs"] == citing.bibtex(citing.references(SOURCES))
    (repository,) = (file for file in said["distribution"] if file["@id"] == "repository")
    content = published.contents.manifest["content_sha256"]
    assert repository["sha256"] == croissant_module.NO_HASH != content
    assert said["version"] == "1.0.0"


def test_croissant_leads_to_the_rows(published):
    """From the repository, here a folder, to decoded pictures."""
    mlcroissant = pytest.importorskip("mlcroissant")
    path = published.folder / "croissant.json"
    data = mlcroissant.Dataset(jsonld=path, mapping={"repository": str(published.folder)})
    rows = list(data.records("MD"))
    task = published.contents.manifest["tasks"]["MD"]
    assert len(rows) == task["train"] + task["test"]
    for row in rows:
        if row["MD/source"] == b"hmc_qu":
            assert row["MD/image"] is row["MD/mask"] is None
        else:
            assert row["MD/image"].size == (row["MD/width"], row["MD/height"])


def test_croissant_without_its_package_says_how_to_get_it(published, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlcroissant", None)
    with pytest.raises(PublishError, match=r"pip install 'usbench\[publish\]'"):
        croissant_module.croissant(published.contents)


def test_the_evaluation_is_of_the_test_splits(published):
    yaml = pytest.importorskip("yaml")
    said = yaml.safe_load((published.folder / "eval.yaml").read_text())
    assert list(said) == ["name", "description", "evaluation_framework", "tasks"]
    assert said["tasks"] == [{"id": code, "config": code, "split": "test"} for code in TASKS]


def test_the_hub_s_error_has_the_base_that_upload_relies_on():
    """A lost connection is an error of the HTTP library, whose base class this is."""
    assert HfHubHTTPError.__bases__[0].__name__ == "HTTPError"
