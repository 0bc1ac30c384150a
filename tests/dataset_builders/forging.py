"""What somebody might do to a data set, by accident or not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from dataset_builders.content import with_seal
from dataset_builders.manifest import MANIFEST, file_sha256
from dataset_builders.parquet import write_shard


def flip(path: Path, position: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def edit_manifest(root: Path, change: Callable[[dict], None]) -> None:
    manifest = json.loads((root / MANIFEST).read_text())
    change(manifest)
    (root / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def forge(root: Path, name: str, change: Callable[[list[dict]], None]) -> None:
    """Change rows of a shard and let the manifest name the new file, as somebody might."""
    rows = pq.read_table(root / name).to_pylist()
    change(rows)
    write_shard(rows, root / name)
    size, digest = (root / name).stat().st_size, file_sha256(root / name)

    def sign(manifest: dict) -> None:
        for entry in manifest["files"]:
            if entry["name"] == name:
                entry |= {"bytes": size, "sha256": digest, "rows": len(rows)}

    edit_manifest(root, sign)


def searched(root: Path) -> None:
    """As `usbench leakage --write` leaves a data set in which it found nothing."""
    clean = {}
    for path in sorted(root.glob("splits/*/test.txt")):
        shutil.copy(path, path.with_name("clean.txt"))
        clean[path.parent.name] = path.read_text().count("\n")
    told = {"correlation": 0.9, "pairs": {}, "duplicates": 0, "straddling": 0, "clean": clean}
    edit_manifest(root, lambda manifest: manifest.update(with_seal({**manifest, "leakage": told})))


def withhold(root: Path, images: dict[str, dict[str, int]]) -> None:
    """Say, with the seal, that pictures were withheld."""
    terms = dict.fromkeys(("licence", "homepage", "access"), "")
    said = {name: {"images": of_source, **terms} for name, of_source in images.items()}
    edit_manifest(root, lambda manifest: manifest.update(with_seal({**manifest, "withheld": said})))
