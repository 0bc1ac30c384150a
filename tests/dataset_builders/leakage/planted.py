"""Pictures of made-up organs with speckle, copies of them, and data sets that hold them."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from dataset_builders.images import encode_png, pixel_sha256
from dataset_builders.leakage.pictures import Picture, picture_of, place_of
from dataset_builders.manifest import FORMAT, MANIFEST, file_sha256
from dataset_builders.parquet import write_shard
from dataset_builders.tasks import TASKS


def scene(moment: int, *, anatomy: int = 0, height: int = 180, width: int = 240) -> np.ndarray:
    """(H, W): the organs of one `anatomy`, with the speckle of one `moment`."""
    organs = np.random.default_rng([1, anatomy])
    speckle = np.random.default_rng([2, anatomy, moment])
    y, x = np.mgrid[0:1:180j, 0:1:240j]
    grey = 180 - 150 * y
    for _ in range(5):
        cy, cx, ry, rx = organs.uniform([0.1, 0.1, 0.05, 0.05], [0.9, 0.9, 0.35, 0.35])
        grey[((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1] += organs.uniform(-90, 90)
    grain = cv2.GaussianBlur(speckle.normal(size=grey.shape), (0, 0), 2)
    grey = np.clip(grey * (1 + 0.16 * grain / grain.std()), 0, 255).astype(np.uint8)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def compressed(grey: np.ndarray) -> np.ndarray:
    _, data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 70])
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def smaller(grey: np.ndarray) -> np.ndarray:
    return cv2.resize(grey, None, fx=0.7, fy=0.6, interpolation=cv2.INTER_AREA)


def brighter(grey: np.ndarray) -> np.ndarray:
    return np.clip(grey * 0.7 + 60, 0, 255).astype(np.uint8)


def measured(grey: np.ndarray) -> np.ndarray:
    """With calipers and a caption burnt in."""
    written = grey.copy()
    for at in ((60, 90), (170, 100)):
        cv2.drawMarker(written, at, 255, cv2.MARKER_CROSS, 9, 1)
    cv2.putText(written, "1 D 3.57cm", (120, 170), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 255, 1)
    return written


def worn(grey: np.ndarray) -> np.ndarray:
    """All of it at once, and strongly compressed."""
    _, data = cv2.imencode(".jpg", brighter(smaller(measured(grey))), [cv2.IMWRITE_JPEG_QUALITY, 8])
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def cropped(grey: np.ndarray) -> np.ndarray:
    height, width = grey.shape
    return grey[: round(0.8 * height), round(0.15 * width) :]


def turned(grey: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(grey[:, ::-1])


COPIES = {
    "near": (compressed, smaller, brighter, measured, worn),
    "part": (cropped,),
    "mirror": (turned,),
}


def row(sample: str, grey: np.ndarray, split: str, rank: int, group: str | None = None) -> dict:
    """One row of a data set; `sample` is its id, "BC/busi/benign (1)"."""
    task, source, name = sample.split("/", 2)
    mask = np.zeros(grey.shape, np.uint8)
    mask[10:30, 10:30] = 255
    return {
        "id": sample,
        "task": task,
        "organ": TASKS[task].organ,
        "image": {"bytes": encode_png(grey), "path": None},
        "mask": {"bytes": encode_png(mask, mask=True), "path": None},
        "source": source,
        "source_id": name,
        "group": f"{source}/{group or name}",
        "split": split,
        "rank": rank,
        "width": grey.shape[1],
        "height": grey.shape[0],
        "spacing_mm": None,
        "view": "",
        "license": "none",
        "pixel_sha256": pixel_sha256(grey),
        "mask_sha256": pixel_sha256(mask),
        "duplicate_of": None,
    }


def data_set(root: Path, rows: Iterable[dict]) -> Path:
    """A data set of these rows, in the order they are given."""
    shards: dict[str, list[dict]] = {}
    for of_shard in rows:
        name = f"{of_shard['task']}/{of_shard['split']}-00000-of-00001.parquet"
        shards.setdefault(name, []).append(of_shard)
    files = []
    for name, own in shards.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_shard(own, path)
        size, digest = path.stat().st_size, file_sha256(path)
        files.append({"name": name, "rows": len(own), "bytes": size, "sha256": digest})
        split = root / "splits" / own[0]["task"] / f"{own[0]['split']}.txt"
        split.parent.mkdir(parents=True, exist_ok=True)
        split.write_text("".join(f"{of_shard['id']}\n" for of_shard in own))
    manifest = {
        **{"format": FORMAT, "content_sha256": "0" * 64, "selection_seed": "", "files": files},
        **{"partial": [], "tasks": {}, "sources": {}, "missing": {}, "versions": {}},
    }
    (root / MANIFEST).write_text(json.dumps(manifest) + "\n")
    return root


def picture(sample: str, grey: np.ndarray, split: str = "", rank: int = 0) -> Picture:
    """A picture by the id of its row; in no split, it was not selected."""
    task, source, name = sample.split("/", 2)
    places = [place_of(sample, split, rank)] if split else []
    return picture_of(source, name, f"{source}/{name}", task, pixel_sha256(grey), places, grey)


def files_of(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
