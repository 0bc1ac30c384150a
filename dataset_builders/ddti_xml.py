"""Marks of the original DDTI: JSON inside XML.

    <case><number>54</number> ... <mark><image>1</image><svg>JSON</svg></mark> ... </case>
    JSON = [{"points": [{"x": 296, "y": 64}, ...], "annotation": {}, "regionType": "freehand"}, ...]

The JSON is empty in 6 of the 480 marks, and in 8 it was cut when it reached 2,500 characters. The
other 466 hold 656 shapes: 8 arrows, of two points, and 648 outlines of 16 points or more.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_builders.images import read_bytes
from dataset_builders.schema import SourceError

Outline = NDArray[np.int32]  # (N, 2) x and y of a closed polygon, in pixels of its image

# what cut JSON, or JSON of another shape, makes Python raise
_DAMAGE = (LookupError, OverflowError, RecursionError, TypeError, ValueError)


class _Plain(ElementTree.TreeBuilder):
    """Refuses entities before one can make a small file enormous; none of the publisher's has any.

    A search of the bytes would miss a declaration in another encoding.
    """

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError(f"declares a document type, '{name}'")


def read_case(source: str, path: Path) -> dict[str, str]:
    """Marks of one case: number of the image -> JSON text, which may be empty or cut.

    Raises:
        SourceError: not XML, another case's, or with a document type.
    """
    data = read_bytes(source, path)
    try:
        case = ElementTree.fromstring(data, ElementTree.XMLParser(target=_Plain()))
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise _unusable(source, path, f"not plain XML ({error})") from error
    if (number := case.findtext("number", "").strip()) != path.stem:
        raise _unusable(source, path, f"holds the marks of case '{number}'")
    return {
        mark.findtext("image", "").strip(): mark.findtext("svg", "")
        for mark in case.findall("mark")
    }


def outlines(text: str) -> tuple[list[Outline], bool]:
    """Freehand outlines before the first damage, and whether there is none; arrows are passed by.

    A list cut anywhere gives those of its outlines that stand whole before the cut.

    Args:
        text: JSON of one mark; empty text is an empty list.
    """
    found: list[Outline] = []
    if not text.strip():
        return found, True
    decoder = json.JSONDecoder()
    try:
        at = text.index("[") + 1
        while True:
            while text[at].isspace() or text[at] == ",":
                at += 1
            if text[at] == "]":
                return found, True
            shape, at = decoder.raw_decode(text, at)
            if shape["regionType"] == "freehand":
                found.append(_outline(shape["points"]))
    except _DAMAGE:
        return found, False


def fill(shapes: Iterable[Outline], height: int, width: int) -> NDArray[np.bool_]:
    """Union of the outlines with their insides; one that leaves the image is left out.

    The one such outline there is (338_2) is a copy of its neighbour that slipped over the lower
    edge, onto black. OpenCV's rule for the edge pixels is the one the 637-image form was made with.

    Returns:
        (height, width).
    """
    mask = np.zeros((height, width), np.uint8)
    for shape in shapes:
        if (shape >= 0).all() and (shape < (width, height)).all():
            # one by one: filled together, two that overlap would cancel out
            cv2.fillPoly(mask, [shape], 1)
    return mask.astype(bool)


def _outline(points: list[dict[str, int]]) -> Outline:
    outline = np.array([(point["x"], point["y"]) for point in points], np.int32)
    if outline.ndim != 2 or len(outline) < 3:
        raise ValueError("three points or more enclose something")
    return outline


def _unusable(source: str, path: Path, problem: str) -> SourceError:
    return SourceError(source, f"'{path.name}'", problem, "get it again from the publisher")
