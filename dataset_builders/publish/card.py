"""The card of a published data set: README.md, for the Hub's pages."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataset_builders.citing import references, text
from dataset_builders.licences import TERMS
from dataset_builders.manifest import Row
from dataset_builders.parquet import COLUMNS, SCHEMA
from dataset_builders.publish.contents import ALL, SPLITS, Contents, pictures_withheld
from dataset_builders.tasks import PARTITIONS, TASKS

TEMPLATES = Path(__file__).parent / "templates"
TITLE = "usbench: universal semi-supervised ultrasound segmentation"
PAPER = "2511.15057"  # arXiv; the benchmark's tables are this paper's
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K"}

# sources that name no patients, as the card calls them
NO_PATIENTS = {"busi": "BUSI", "udiat": "Dataset B", "mmotu": "MMOTU", "tn3k": "TN3K"}

# column -> what the card says of it
FIELDS = {
    "id": "task, source and publisher's name; unique",
    "task": f"one of {', '.join(TASKS)}",
    "organ": "breast, fetus, heart, ovary or thyroid",
    "image": "native resolution, grey, or RGB in OT; null where it is withheld",
    "mask": "the same size, 0 or 255, lossless; null where it is withheld",
    "source": "the source's short name",
    "source_id": "the publisher's name of the image",
    "group": "patient, exam, video or cluster of duplicates; never on both sides of the split",
    "split": "train or test",
    "rank": "order in the split; the first training ranks are the labelled ones",
    "width": "px",
    "height": "px",
    "spacing_mm": "height and width of a pixel in mm; null where the source has none",
    "view": "2CH, 4CH, A4C; empty where the source names none",
    "license": "stated of the source, if only of another copy; LICENSES.md has the terms",
    "pixel_sha256": "of the decoded image, whatever encodes it",
    "mask_sha256": "of the decoded mask",
    "duplicate_of": "id of an image elsewhere in the data set that shows the same, or null",
}


def readme(contents: Contents) -> str:
    """README.md: YAML that `load_dataset` reads, then the text."""
    return _fill("README.md.jinja", contents, front=front_matter(contents))


def front_matter(contents: Contents) -> str:
    """The YAML block: a configuration per task and one of all, over the same files."""
    from datasets import DatasetInfo, Features, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

    features = Features.from_arrow_schema(SCHEMA)
    infos, configs = {}, {}
    for config in contents.configs:
        shards = {split: contents.shards_of(config, split) for split in SPLITS}
        splits = [
            SplitInfo(split, sum(s.loaded for s in files), sum(s.rows for s in files))
            for split, files in shards.items()
        ]
        infos[config] = DatasetInfo(
            features=features,
            splits=SplitDict({split.name: split for split in splits}),
            download_size=sum(shard.bytes for files in shards.values() for shard in files),
            dataset_size=sum(split.num_bytes for split in splits),
        )
        configs[config] = {
            "data_files": [
                {"split": split, "path": [shard.name for shard in files]}
                for split, files in shards.items()
            ],
            **({"default": True} if config == ALL else {}),
        }
    data = DatasetCardData(
        pretty_name="usbench",
        language=["en"],
        license="other",
        license_name="mixed-per-source",
        license_link="LICENSES.md",
        task_categories=["image-segmentation"],
        task_ids=["semantic-segmentation"],
        size_categories=[next(name for most, name in SIZES.items() if len(contents.rows) < most)],
        annotations_creators=["expert-generated"],
        tags=["medical", "ultrasound", "benchmark", "semi-supervised", f"arxiv:{PAPER}"],
    )
    MetadataConfigs(configs).to_dataset_card_data(data)
    DatasetInfosDict(infos).to_dataset_card_data(data)
    return str(data.to_yaml())


def _fill(name: str, contents: Contents, **more: object) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pages = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML
    )
    pages.filters["cell"] = lambda text: str(text).replace("|", r"\|")
    pages.filters["count_of"] = lambda count, what: f"{count} {what}{'' if count == 1 else 's'}"
    return pages.get_template(name).render(
        title=TITLE,
        paper=PAPER,
        repo=contents.repo,
        revision=contents.revision,
        manifest=contents.manifest,
        tasks={code: _task(contents, code) for code in contents.manifest["tasks"]},
        sources=contents.sources,
        references=text(references(contents.sources)).splitlines(),
        commercial=[name for name in contents.sources if TERMS[name].commercial],
        no_patients=[name for source, name in NO_PATIENTS.items() if source in contents.sources],
        withheld=contents.withheld,
        fields={name: FIELDS[name] for name in COLUMNS},
        partitions=[name for name in PARTITIONS if name != "full"],
        searched="leakage" in contents.manifest,
        duplicates=_duplicates(contents.rows),
        example=_example(contents),
        **more,
    )


def _task(contents: Contents, code: str) -> dict[str, Any]:
    lacking = pictures_withheld(contents.manifest).get(code, {})
    counts: dict[str, Any] = contents.manifest["tasks"][code]
    return {
        **counts,
        "name": TASKS[code].name,
        "prompt": TASKS[code].prompt,
        "withheld": sum(lacking.values()),
        "drawn": " + ".join(
            f"{name} {count}{' (withheld)' if name in lacking else ''}"
            for name, count in counts["sources"].items()
        ),
    }


def _example(contents: Contents) -> str:
    """A task for the examples: one that has all its pictures, if there is one."""
    lacking = pictures_withheld(contents.manifest)
    tasks: list[str] = list(contents.manifest["tasks"])
    return next((code for code in tasks if code not in lacking), tasks[0])


def _duplicates(rows: Sequence[Row]) -> dict[str, int]:
    """Task -> images that show what another image of the data set shows, where that is known."""
    return dict(Counter(row["task"] for row in rows if row["duplicate_of"]))
