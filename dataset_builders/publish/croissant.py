"""croissant.json: the data set in MLCommons' vocabulary, with the terms of responsible AI.

The Hub makes a Croissant file of its own from the Parquet files; it knows nothing of where the
images come from, how they were chosen, and what they must not be used for.
"""

import json
from typing import Any

import pyarrow as pa

from dataset_builders.citing import bibtex, references
from dataset_builders.parquet import COLUMNS, SCHEMA
from dataset_builders.publish.card import FIELDS, TITLE
from dataset_builders.publish.contents import UNTAGGED, Contents, PublishError
from dataset_builders.sources import SOURCES
from dataset_builders.tasks import TASKS

HUB = "https://huggingface.co/datasets"
# A repository has no hash, and the format asks for one: the discussion of that stands in its place,
# as in the files that the Hub makes. The manifest holds the hashes of the shards.
NO_HASH = "https://github.com/mlcommons/croissant/issues/80"
STANDARDS = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]

RESPONSIBLE = {
    "data_collection": (
        "Images and masks were collected by the publishers of the sources, each under its own "
        "protocol; usbench selects, cleans and splits them and collects nothing itself."
    ),
    "data_collection_type": ["Secondary Data Analysis"],
    "data_preprocessing_protocol": [
        "Images keep their native resolution; grey images are stored with one channel.",
        "Masks are reduced to one target a task and stored as 0 and 255 without loss.",
        "Duplicates that were measured form one group; groups never straddle the split.",
    ],
    "data_annotation_protocol": [
        "The publishers' masks; readers, tools and rules differ between the sources."
    ],
    "data_use_cases": [
        "Comparing methods of segmentation that learn from few labelled images.",
        "Not for diagnosis, and not for judging a method's worth in a clinic.",
    ],
    "data_limitations": [
        "Single frames, mostly from one hospital or device a source.",
        "Some sources name no patients, so images of one may stand on both sides of the split.",
        "Some pictures carry callipers and text that were burnt in by the scanner.",
    ],
    "data_biases": [
        "Hospitals, devices and populations are those of a few countries; skin, age and disease "
        "were not balanced, and most sources do not tell them."
    ],
    "personal_sensitive_information": [
        "Medical images without names. Publishers removed what identifies a person; `group` is a "
        "number of a patient, exam or video, and links images of one person."
    ],
    "data_social_impact": (
        "May lead to methods that need fewer labels; may mislead where scores on these images are "
        "taken for evidence of use in patients."
    ),
    "data_release_maintenance_plan": (
        "Versions are tags of the repository; each has a content hash that does not change."
    ),
}


def croissant(contents: Contents) -> str:
    """croissant.json: the repository, its shards, one record set a task.

    Raises:
        PublishError: mlcroissant is not installed, or refuses what was written.
    """
    try:
        import mlcroissant as mlc
    except ImportError:
        raise PublishError(
            "croissant.json needs the package mlcroissant; pip install 'usbench[publish]'"
        ) from None

    page = f"{HUB}/{contents.repo}"
    repository = mlc.FileObject(
        id="repository",
        name="repository",
        description="The repository on the Hugging Face Hub.",
        content_url=f"{page}/tree/{contents.revision}",
        encoding_formats=["git+https"],
        sha256=NO_HASH,
    )
    tasks = list(contents.manifest["tasks"])
    metadata = mlc.Metadata(
        conforms_to=STANDARDS,
        name="usbench",
        description=f"{TITLE}: {', '.join(TASKS[code].name for code in tasks)}.",
        url=page,
        version=_version(contents.revision),
        license=[f"{page}/blob/{contents.revision}/LICENSES.md"],
        cite_as=bibtex(references(contents.sources)),
        creators=[mlc.Organization(name="The usbench developers")],
        keywords=["ultrasound", "segmentation", "semi-supervised", "benchmark"],
        in_language=["en"],
        same_as=[SOURCES[name].card.homepage for name in contents.sources],
        distribution=[repository, *(_files(mlc, code) for code in tasks)],
        record_sets=[_records(mlc, code) for code in tasks],
        data_collection_missing_data=_missing(contents),
        **RESPONSIBLE,
    )
    return json.dumps(metadata.to_json(), indent=1, ensure_ascii=False, default=str) + "\n"


def _files(mlc: Any, code: str) -> Any:  # noqa: ANN401 - the package has no types
    return mlc.FileSet(
        id=f"{code}-files",
        name=f"{code}-files",
        description=f"Parquet files of {TASKS[code].name}.",
        contained_in=["repository"],
        encoding_formats=["application/x-parquet"],
        includes=[f"{code}/*.parquet"],
    )


def _records(mlc: Any, code: str) -> Any:  # noqa: ANN401
    return mlc.RecordSet(
        id=code,
        name=code,
        description=f"{TASKS[code].name}; the column split says train or test.",
        key=f"{code}/id",
        fields=[
            mlc.Field(
                id=f"{code}/{column}",
                name=column,
                description=FIELDS[column],
                data_types=[_type(mlc, column)],
                **({"is_array": True, "array_shape": "2"} if column == "spacing_mm" else {}),
                source=mlc.Source(
                    file_set=f"{code}-files",
                    extract=mlc.Extract(column=column),
                    transforms=[mlc.Transform(json_path="bytes")] * (column in ("image", "mask")),
                ),
            )
            for column in COLUMNS
        ],
    )


def _type(mlc: Any, column: str) -> Any:  # noqa: ANN401
    kind = SCHEMA.field(column).type
    if pa.types.is_struct(kind):
        return mlc.DataType.IMAGE_OBJECT
    if pa.types.is_fixed_size_list(kind):
        return mlc.DataType.FLOAT
    return mlc.DataType.INTEGER if pa.types.is_integer(kind) else mlc.DataType.TEXT


def _version(revision: str) -> str:
    """Three numbers, as Croissant asks for; what has no tag yet is before the first version."""
    return "0.0.0" if revision == UNTAGGED else revision.removeprefix("v")


def _missing(contents: Contents) -> str:
    lacking = [f"{name}: {what}" for name, what in contents.manifest["missing"].items()]
    withheld = [
        f"{name}: pictures of {sum(said['images'].values())} images are withheld"
        for name, said in contents.withheld.items()
    ]
    return "; ".join([*lacking, *withheld]) or "none"
