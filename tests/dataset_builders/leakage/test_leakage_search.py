"""Copies are found whatever was done to them; alike is not the same; sides are told apart."""

import csv
import io
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import (
    COPIES,
    brighter,
    compressed,
    cropped,
    data_set,
    picture,
    row,
    scene,
    smaller,
    turned,
)

from dataset_builders.errors import UsageError
from dataset_builders.leakage.candidates import candidates
from dataset_builders.leakage.confirm import SAME, agreement
from dataset_builders.leakage.findings import Findings, Pair, search
from dataset_builders.leakage.fingerprints import DETAIL
from dataset_builders.leakage.pictures import of_data_set
from dataset_builders.leakage.report import COLUMNS, summary, table

OTHERS = [picture(f"BC/busi/other {n}", scene(0, anatomy=10 + n)) for n in range(12)]


def found(findings: Findings) -> list[tuple[str, str, str]]:
    return [(pair.first.name, pair.second.name, pair.kind) for pair in findings.pairs]


@pytest.mark.parametrize(
    ("kind", "change"), [(kind, change) for kind, some in COPIES.items() for change in some]
)
def test_a_copy_is_found_whatever_was_done_to_it(kind, change):
    original = scene(0)
    for one, other in ((original, change(original)), (change(original), original)):
        pair = [picture("BC/busi/a", one), picture("BC/udiat/b", other)]
        assert found(search([*OTHERS, *pair])) == [("a", "b", kind)]


def test_equal_pixels_are_found_even_if_they_show_nothing():
    black = np.zeros((60, 80), np.uint8)
    copies = [picture(f"BC/busi/{name}", black) for name in "abc"]
    assert found(search([*OTHERS, *copies])) == [("a", "b", "exact"), ("a", "c", "exact")]


def test_a_copy_is_found_in_another_organ():
    pair = [picture("BC/busi/a", scene(0)), picture("OT/mmotu/7", smaller(scene(0)))]
    assert found(search([*OTHERS, *pair])) == [("a", "7", "near")]


def test_the_same_anatomy_at_another_moment_is_not_the_same_image():
    patients = [picture(f"BC/busi/{n}", scene(n)) for n in range(6)]
    near = {(c.first, c.second) for c in candidates(patients, lambda *step: None) if not c.part}
    assert len(near) == 15  # all look alike, so it is the closer look that tells them apart
    assert found(search(patients)) == []


def test_pictures_that_share_only_the_screen_are_not_the_same():
    def screen(n: int) -> np.ndarray:
        grey = np.zeros((240, 320), np.uint8)
        grey[50:200, 60:260] = scene(n, anatomy=n, height=150, width=200)
        for x in range(10, 310, 12):
            for y in (4, 18):
                grey[y : y + 9, x : x + 6] = 255
        return grey

    assert found(search([picture(f"BC/busi/{n}", screen(n)) for n in range(12)])) == []


def test_strong_marks_in_a_few_tiles_do_not_make_two_pictures_agree():
    one, other = np.random.default_rng(0).normal(0, 0.5, (2, DETAIL, DETAIL)).astype(np.float32)
    marks = np.random.default_rng(1).normal(0, 3, (DETAIL // 4, DETAIL)).astype(np.float32)
    one[: len(marks)] += marks
    other[: len(marks)] += marks
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.8
    assert agreement(one, other) < SAME / 2


def test_frames_of_one_film_are_expected_to_be_alike():
    films = {
        "MD/hmc_qu/ES1_4CH_1#00": "MD/hmc_qu/ES1_4CH_1#01",
        "LA/camus/patient0001_4CH_ED": "LA/camus/patient0001_4CH_ES",
    }
    for one, other in films.items():
        for again in (scene(0), compressed(scene(0))):
            assert found(search([picture(one, scene(0)), picture(other, again)])) == []
        away = picture(other.replace("1_4CH", "2_4CH"), compressed(scene(0)))
        assert len(found(search([picture(one, scene(0)), away]))) == 1


def test_many_copies_of_one_picture_do_not_hide_a_crop_of_it():
    copies = [picture(f"BC/busi/copy {n:02}", scene(0)) for n in range(15)]
    crop = picture("BC/busi/crop", cropped(scene(0)))
    assert ("copy 00", "crop", "part") in found(search([*OTHERS, *copies, crop]))


@settings(max_examples=8)
@given(st.integers(0, 10_000))
def test_the_order_of_the_pictures_does_not_matter(seed):
    pictures = [
        *OTHERS[:5],
        picture("BC/busi/a", scene(0), "train", 1),
        picture("BC/busi/b", brighter(scene(0)), "test", 0),
        picture("OT/mmotu/7", scene(0), "train", 0),
        picture("BC/busi/c", cropped(scene(0)), "train", 2),
    ]
    shuffled = random.Random(seed).sample(pictures, len(pictures))
    one, other = search(pictures), search(shuffled)
    assert table(one) == table(other)
    assert summary(one) == summary(other)
    assert one.duplicate_of == other.duplicate_of


def test_what_stands_on_both_sides_is_told_with_its_training_image():
    search_ = search(
        [
            *OTHERS,
            picture("BC/busi/a", scene(0), "train", 3),
            picture("BC/udiat/b", smaller(scene(0)), "test", 0),
            picture("OT/mmotu/7", scene(0), "test", 1),
        ]
    )
    assert search_.straddling == [
        ("near", ("BC/busi/a", "BC/udiat/b")),
        ("exact", ("BC/busi/a", "OT/mmotu/7")),
    ]
    assert "ON BOTH SIDES of the split: 2 test images (1 near, 1 exact)" in summary(search_)


def test_equal_images_are_exact_though_only_the_first_of_them_was_compared():
    copies = [
        picture(f"BC/busi/{name}", scene(0), split, rank)
        for rank, (name, split) in enumerate([("a", "test"), ("b", "train"), ("c", "test")])
    ]
    twice = search([*OTHERS, *copies])
    assert twice.straddling == [
        ("exact", ("BC/busi/b", "BC/busi/a")),
        ("exact", ("BC/busi/b", "BC/busi/c")),
    ]
    rows = list(csv.DictReader(io.StringIO(table(twice).decode())))
    told = {(row["ids_a"], row["ids_b"], row["kind"], row["straddles"]) for row in rows}
    assert told == {
        ("BC/busi/a", "BC/busi/b", "exact", "yes"),
        ("BC/busi/a", "BC/busi/c", "exact", "no"),
        ("BC/busi/b", "BC/busi/c", "exact", "yes"),
    }


def test_a_copy_of_any_of_some_equal_images_is_of_the_kind_that_was_found():
    pictures = [
        picture("BC/busi/a", scene(0)),
        picture("BC/busi/b", scene(0), "train", 0),
        picture("BC/busi/c", turned(scene(0)), "test", 0),
    ]
    assert search([*OTHERS, *pictures]).straddling == [("mirror", ("BC/busi/b", "BC/busi/c"))]


def test_images_that_are_one_only_through_a_third_are_told_as_a_chain():
    first, middle, last = (
        picture(f"BC/busi/{name}", scene(0, anatomy=n), split)
        for n, (name, split) in enumerate([("a", "train"), ("b", ""), ("c", "test")])
    )
    linked = [Pair(first, middle, "near", 0.9, 0.9), Pair(middle, last, "part", 0.9, 0.9)]
    findings = Findings([first, middle, last], linked)
    assert findings.straddling == [("chain", ("BC/busi/a", "BC/busi/c"))]
    assert table(findings).decode().splitlines()[-1].startswith("chain,")


def test_a_chain_through_an_image_that_was_not_selected_is_told():
    chain = [
        picture("BC/busi/a", scene(0), "train", 0),
        picture("BC/busi/b", scene(0)),
        picture("BC/busi/c", smaller(scene(0)), "test", 0),
    ]
    assert search([*OTHERS, *chain]).straddling == [("near", ("BC/busi/a", "BC/busi/c"))]


def test_a_group_on_both_sides_is_told_though_its_images_differ():
    apart = [
        replace(picture("FH/hc18/143_HC", scene(0), "train"), group="hc18/exam143"),
        replace(picture("FH/hc18/143_2HC", scene(0, anatomy=5), "test"), group="hc18/exam143"),
    ]
    both = search(apart)
    assert both.pairs == []
    assert both.straddling == [("group", ("FH/hc18/143_HC", "FH/hc18/143_2HC"))]
    head, line = table(both).decode().splitlines()
    assert head == ",".join(COLUMNS)
    assert line.startswith("group,")


def camus(patient: int, task: str, split: str, moment: int = 0, rank: int = 0) -> dict:
    name = f"patient{patient:04}_4CH_ED"
    grey = scene(moment, anatomy=patient)
    return row(f"{task}/camus/{name}", grey, split, rank, name.partition("_")[0])


def test_one_picture_in_three_tasks_is_no_finding_on_one_side_and_one_on_both(tmp_path):
    tasks = [camus(1, task, "train") for task in ("LA", "LV", "MD")]
    one_side = search(of_data_set(data_set(tmp_path / "one", tasks)))
    assert len(one_side.pictures) == 1
    assert (one_side.pairs, one_side.straddling, one_side.duplicate_of) == ([], [], {})

    tasks[2] = camus(1, "MD", "test")
    both = search(of_data_set(data_set(tmp_path / "both", tasks)))
    (id_,) = {tasks[2]["id"]}
    assert both.straddling == [("group", (tasks[0]["id"], id_))]


def test_the_first_of_the_data_set_is_the_original():
    copies = [
        picture("BC/busi/z", scene(0), "train", 4),
        picture("BC/busi/a", scene(0), "test", 0),
        picture("BC/busi/m", compressed(scene(0)), "train", 2),
        picture("BC/busi/unused", scene(0)),
    ]
    assert search([*OTHERS, *copies]).duplicate_of == {
        "BC/busi/z": "BC/busi/m",
        "BC/busi/a": "BC/busi/m",
    }


def test_a_duplicate_names_the_original_of_its_own_task(tmp_path):
    rows = [
        *(camus(33, task, "test", rank=1) for task in ("LA", "LV")),
        *(
            camus(33, task, "test", rank=2) | {"source_id": "patient0068_4CH_ED"}
            for task in ("LV",)
        ),
    ]
    rows[2]["id"] = "LV/camus/patient0068_4CH_ED"
    findings = search(of_data_set(data_set(tmp_path, rows)))
    assert findings.duplicate_of == {rows[2]["id"]: "LV/camus/patient0033_4CH_ED"}


def test_what_is_no_data_set_is_refused_in_words(tmp_path):
    with pytest.raises(UsageError, match="holds no data set"):
        of_data_set(tmp_path)
    data_set(tmp_path, [row("BC/busi/a", scene(0), "train", 0)])
    next(tmp_path.glob("BC/*.parquet")).write_bytes(b"PAR1 but not really")
    with pytest.raises(UsageError, match="damaged"):
        of_data_set(tmp_path)
