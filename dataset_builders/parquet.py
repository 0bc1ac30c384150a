"""The Parquet schema of the data set, and the one place that writes it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 100  # what the Hub's viewer asks for; reading a group then takes milliseconds

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# nullable, as `datasets` matches its features to the fields only if they are
_FIELDS = [
    pa.field("id", pa.string()),
    pa.field("task", pa.string()),
    pa.field("organ", pa.string()),
    pa.field("image", _IMAGE),
    pa.field("mask", _IMAGE),
    pa.field("source", pa.string()),
    pa.field("source_id", pa.string()),
    pa.field("group", pa.string()),
    pa.field("split", pa.string()),
    pa.field("rank", pa.int32()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("spacing_mm", pa.list_(pa.float64(), 2)),  # height, width of a pixel; null unknown
    pa.field("view", pa.string()),
    pa.field("license", pa.string()),
    pa.field("pixel_sha256", pa.string()),
    pa.field("mask_sha256", pa.string()),
    pa.field("duplicate_of", pa.string()),
]
COLUMNS = tuple(field.name for field in _FIELDS)
# what identifies the content whatever wrote it: all columns but the encoded bytes
CONTENT_COLUMNS = tuple(name for name in COLUMNS if name not in ("image", "mask"))


def _hub_features() -> dict[str, object]:
    """The footer entry by which `datasets` shows bytes as images."""
    kinds: dict[str, object] = {
        "image": {"_type": "Image"},
        "mask": {"mode": "L", "_type": "Image"},
        "spacing_mm": {
            "feature": {"dtype": "float64", "_type": "Value"},
            "length": 2,
            "_type": "List",
        },
    }
    features = {
        field.name: kinds.get(field.name, {"dtype": str(field.type), "_type": "Value"})
        for field in _FIELDS
    }
    return {"info": {"features": features}}


SCHEMA = pa.schema(_FIELDS, metadata={"huggingface": json.dumps(_hub_features())})


def write_shard(rows: Iterable[Mapping[str, object]], path: Path) -> None:
    """Write rows in the given order; equal rows give equal bytes with equal versions of Arrow.

    Image bytes are stored as they are: PNG and JPEG do not compress further.
    """
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    encoded = ("image.bytes", "image.path", "mask.bytes", "mask.path")
    plain = [name for name in COLUMNS if name not in ("image", "mask", "spacing_mm")]
    pq.write_table(
        table,
        path,
        row_group_size=ROWS_PER_GROUP,
        compression={**dict.fromkeys(plain, "zstd"), **dict.fromkeys(encoded, "none")},
        use_dictionary=["task", "organ", "source", "split", "view", "license"],
        write_statistics=plain,
        write_page_index=True,
    )
