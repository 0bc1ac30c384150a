"""Marks of the original DDTI: cut JSON, arrows, hostile XML."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_builders.ddti_xml import fill, outlines, read_case
from dataset_builders.schema import SourceError

points = st.fixed_dictionaries({"x": st.integers(-9, 600), "y": st.integers(-9, 400)})
shapes = st.fixed_dictionaries(
    {
        "points": st.lists(points, min_size=3, max_size=6),
        "annotation": st.just({}),
        "regionType": st.sampled_from(["freehand", "freehand", "arrow"]),
    }
)


def freehand(*corners):
    listed = [{"x": x, "y": y} for x, y in corners]
    return {"points": listed, "annotation": {}, "regionType": "freehand"}


def corners(mark):
    return [outline.tolist() for outline in outlines(mark)[0]]


SQUARE = freehand((1, 1), (4, 1), (4, 4), (1, 4))


@settings(deadline=None)
@given(st.lists(shapes, max_size=4), st.sampled_from([None, 1]), st.data())
def test_a_cut_list_gives_what_stands_before_the_cut(marks, indent, data):
    text = json.dumps(marks, indent=indent)
    cut = data.draw(st.integers(0, len(text)))
    everything = [
        [[point["x"], point["y"]] for point in shape["points"]]
        for shape in marks
        if shape["regionType"] == "freehand"
    ]
    found, whole = outlines(text[:cut])
    assert [outline.tolist() for outline in found] == everything[: len(found)]
    # every shape that ends before the cut is there
    ended = [shape for k, shape in enumerate(marks) if _end(marks, k, indent) <= cut]
    assert len(found) == sum(shape["regionType"] == "freehand" for shape in ended)
    assert whole == (cut in (0, len(text)))


def _end(marks, index, indent):
    """Where shape number `index` ends in the text of the whole list."""
    until = json.dumps(marks[: index + 1], indent=indent)
    return len(until.removesuffix("]").rstrip())


def test_arrows_are_no_outlines():
    arrow = {**freehand((0, 0), (9, 9)), "regionType": "arrow"}
    assert corners(json.dumps([arrow, SQUARE, arrow])) == [[[1, 1], [4, 1], [4, 4], [1, 4]]]
    assert outlines(json.dumps([arrow])) == ([], True)


@pytest.mark.parametrize("text", ["", "  \n", "[]"])
def test_an_empty_mark_is_whole(text):
    assert outlines(text) == ([], True)


@pytest.mark.parametrize(
    "damage",
    [
        '{"regionType": "freehand"}',
        '{"points": [{"x": 1, "y": 2}]}',
        '{"regionType": "freehand", "points": []}',
        '{"regionType": "freehand", "points": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}',
        '{"regionType": "freehand", "points": "abc"}',
        '{"regionType": "freehand", "points": 5}',
        *(
            '{"regionType": "freehand", "points": [' + ", ".join([point] * 3) + "]}"
            for point in (
                '{"x": 1}',
                '{"x": null, "y": 2}',
                '{"x": NaN, "y": 2}',
                '{"x": Infinity, "y": 2}',
                '{"x": 99999999999999999999, "y": 2}',
                '{"x": 1e300, "y": 2}',
                '{"x": [1, 2], "y": [3, 4]}',
                '{"x": {}, "y": {}}',
            )
        ),
        '{"regionType": []',
        "[" * 100_000,
        "9" * 5_000,
        "freehand",
        "7",
        "null",
    ],
)
def test_damage_ends_the_list(damage):
    text = f"[{json.dumps(SQUARE)}, {damage}, {json.dumps(SQUARE)}]"
    found, whole = outlines(text)
    assert len(found) == 1
    assert not whole


def test_no_list_at_all():
    assert outlines("nothing drawn") == ([], False)


def filled(*marks, size=(10, 12)):
    return fill(outlines(json.dumps(marks))[0], *size)


def test_edges_belong_to_the_mask():
    mask = filled(SQUARE)
    assert mask.shape == (10, 12)
    assert mask.sum() == 16
    assert mask[1:5, 1:5].all()


def test_outlines_are_united():
    other = freehand((3, 3), (8, 3), (8, 8), (3, 8))
    assert filled(SQUARE, other).sum() == 16 + 36 - 4
    assert (filled(SQUARE, SQUARE) == filled(SQUARE)).all()


@pytest.mark.parametrize("corner", [(12, 5), (5, 10), (-1, 5), (5, -1), (2**31 - 1, 0)])
def test_an_outline_that_leaves_the_image_is_left_out(corner):
    outside = freehand((6, 6), (8, 6), corner)
    assert (filled(SQUARE, outside) == filled(SQUARE)).all()
    assert not filled(outside).any()


def test_the_last_row_and_column_are_inside():
    assert filled(freehand((0, 0), (11, 0), (11, 9), (0, 9))).all()


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 9)), min_size=3)))
def test_every_corner_is_filled(drawn):
    mask = fill([np.array(outline, np.int32) for outline in drawn], 10, 12)
    assert all(mask[y, x] for outline in drawn for x, y in outline)


def case(path, body, number="7"):
    path.write_text(f"<case><number>{number}</number>{body}</case>")
    return path


def test_marks_by_image(tmp_path):
    body = "<mark><image>1</image><svg>[]</svg></mark><mark><image>2</image><svg></svg></mark>"
    assert read_case("ddti", case(tmp_path / "7.xml", body)) == {"1": "[]", "2": ""}
    assert read_case("ddti", case(tmp_path / "7.xml", "<age></age>")) == {}


def test_a_renamed_case_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"'8\.xml': holds the marks of case '7'"):
        read_case("ddti", case(tmp_path / "8.xml", ""))


LAUGHS = '<!DOCTYPE case [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><case><number>&b;</number></case>'
DECLARES = r"not plain XML \(declares a document type, 'case'\)"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "the file is empty"),
        (b"<case><number>7</number>", "not plain XML"),
        (b"\xff\xd8\xff\xe0", "not plain XML"),
        (b"<!ENTITY a 'ha'><case/>", "not plain XML"),
        (b'<?xml version="1.0" encoding="klingon"?><case/>', "not plain XML"),
        (b'<?xml version="1.0" encoding="gb18030"?><case/>', "not plain XML"),
        (b"<!DOCTYPE case><case><number>7</number></case>", DECLARES),
        (LAUGHS.encode(), DECLARES),
        (LAUGHS.encode("utf-8-sig"), DECLARES),
        (LAUGHS.encode("utf-16"), DECLARES),
        (LAUGHS.encode("utf-16-le"), DECLARES),
    ],
)
def test_unusable_files(tmp_path, data, problem):
    path = tmp_path / "7.xml"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=rf"ddti: '7\.xml': {problem}"):
        read_case("ddti", path)


def test_a_missing_file(tmp_path):
    with pytest.raises(SourceError, match=r"'7\.xml': No such file"):
        read_case("ddti", tmp_path / "7.xml")
