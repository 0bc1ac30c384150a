"""What the definition does to scores and ranks, as numbers and as text."""

import numpy as np
import pandas as pd
import pytest

from benchmark.masks import pack
from benchmark.metrics import NATIVE, measure
from benchmark.profile_table import comparison, markdown, terminal
from benchmark.profiles import PROFILES
from benchmark.record import RecordError

PAPER, MEDPY, MM = (PROFILES[name] for name in ("paper", "medpy", "mm"))


def square(side: int, *islands: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((40, 40), bool)
    mask[2 : 2 + side, 2 : 2 + side] = True
    for y, x in islands:
        mask[y, x] = True
    return mask


def rows(spacing_mm: float = np.nan, **preds: np.ndarray) -> pd.DataFrame:
    """An image a task whose mask is a square of 20 px; native size is the same size."""
    mask = square(20)
    frames = []
    for task, pred in preds.items():
        found = pd.DataFrame(measure(pred[None], mask[None], threads=1))
        names = {"task": task, "mask_png": pack(mask), "pred_png": pack(pred)}
        known = spacing_mm if task == "FH" else np.nan
        frames.append(found.join(found.add_prefix(NATIVE)).assign(**names, spacing_mm=known))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture
def methods() -> dict[str, pd.DataFrame]:
    """One 2 px too small, one perfect but for five far pixels, one that misses an image."""
    small, empty = square(18), np.zeros((40, 40), bool)
    island = square(20, (39, 39), (39, 36), (36, 39), (36, 36), (33, 39))
    return {
        "small": rows(0.5, FH=small, OT=small),
        "island": rows(0.5, FH=island, OT=island),
        "empty": rows(0.5, FH=square(20), OT=empty),
    }


def line(compared: pd.DataFrame, metric: str, profile: str, method: str) -> pd.Series:
    keys = ["metric", "profile", "method"]
    return compared.set_index(keys).loc[(metric, profile, method)]


def test_scores_are_means_over_tasks(methods):
    compared = comparison(methods)
    assert compared.columns.tolist() == [
        "metric", "profile", "method", "unit", "score", "rank", "tasks", "left_out", "images",
    ]  # fmt: skip
    assert len(compared) == 3 * len(PROFILES) * 3
    for name, profile in PROFILES.items():
        for method, frame in methods.items():
            by_task = [profile.task_scores(own) for _, own in frame.groupby("task")]
            for metric in ("dice", "iou"):
                expected = 100 * np.mean([getattr(scores, metric) for scores in by_task])
                assert line(compared, metric, name, method).score == pytest.approx(expected)
    assert line(compared, "hd95", "paper", "empty").score == pytest.approx(np.hypot(40, 40) / 2)


def test_ranks_follow_the_profile(methods):
    compared = comparison(methods, [PAPER, MEDPY])
    ranks = {
        (metric, profile): own["rank"].tolist()
        for (metric, profile), own in compared.groupby(["metric", "profile"])
    }
    assert ranks[("dice", "paper")] == ranks[("dice", "medpy")] == [2, 1, 3]
    # in one heap the island is below 5 % of the distances; by direction it is above
    assert ranks[("hd95", "paper")] == [1, 2, 3]
    assert ranks[("hd95", "medpy")][:2] == [2, 1]


def test_equal_scores_share_the_better_rank(methods):
    same = {"one": methods["small"], "two": methods["small"], "three": methods["empty"]}
    assert comparison(same, [PAPER]).query("metric == 'dice'")["rank"].tolist() == [1, 1, 3]


def test_a_method_without_a_value_has_no_rank(methods):
    compared = comparison(methods, [MEDPY])
    empty = line(compared, "hd95", "medpy", "empty")
    assert np.isnan(empty.score)
    assert np.isnan(empty["rank"])
    assert line(compared, "hd95", "medpy", "small").tasks == "FH OT"


def test_tasks_without_a_value_for_any_method_are_left_out(methods):
    compared = comparison(methods, [MM])
    assert line(compared, "hd95", "mm", "small").tasks == "FH"
    assert line(compared, "dice", "mm", "small").tasks == "FH OT"
    px = MM.per_image(methods["small"]).hd95 / 0.5
    assert line(compared, "hd95", "mm", "small").score == pytest.approx(0.5 * px[0])
    unknown = {name: frame.assign(spacing_mm=np.nan) for name, frame in methods.items()}
    nowhere = comparison(unknown, [MM]).query("metric == 'hd95'")
    assert nowhere["score"].isna().all()
    assert nowhere["rank"].isna().all()
    assert (nowhere["tasks"] == "").all()


def test_only_tasks_that_all_have_count(methods):
    one = methods | {"small": methods["small"].query("task == 'FH'")}
    compared = comparison(one, [PAPER])
    assert (compared["tasks"] == "FH").all()
    assert line(compared, "dice", "paper", "empty").score == 100
    apart = {"a": rows(FH=square(5)), "b": rows(OT=square(5))}
    with pytest.raises(RecordError, match=r"no task that all runs have \(a: FH; b: OT\)"):
        comparison(apart)
    with pytest.raises(RecordError, match="no run given"):
        comparison({})


def test_rows_without_pictures_name_method_and_profile(methods):
    old = methods | {"island": methods["island"].drop(columns=["pred_png"])}
    with pytest.raises(RecordError, match=r"island: .* pred_png, which the profile 'deepmind'"):
        comparison(old)
    comparison(old, [PAPER])


def test_the_terminal_shows_a_hundred_columns(methods):
    text = terminal(comparison(methods), 100)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b" not in text
    header = next(line for line in lines if line.startswith("HD95"))
    assert header.split() == ["HD95", *PROFILES]
    small = [line.split() for line in lines if line.startswith("small")][:3]
    assert [len(cells) for cells in small] == [1 + 2 * len(PROFILES)] * 3
    assert small[0][1:3] == [f"{100 * 2 * 324 / 724:.2f}", "(2)"]
    note = " ".join(lines).split("HD95 in px")[-1]
    assert note.startswith(
        ", mean of FH, OT; native: px at native size; mm: mm, of FH alone; in brackets the rank"
    )
    assert "on the profile: small 1 to 2, island 1 to 3, empty 1 to 3." in note


def test_what_hd95_leaves_out_is_counted_by_method_and_profile(methods):
    compared = comparison(methods)
    assert line(compared, "hd95", "medpy", "empty").left_out == 1  # no distance to nothing
    assert line(compared, "hd95", "mm", "small").left_out == 1  # OT is of unknown spacing
    assert (compared["images"] == 2).all()
    last = terminal(compared, 100).split("no HD95")[1]
    header, _, *rows, note = last.strip().splitlines()
    assert header.split() == list(PROFILES)
    counts = {"small": "0000001", "island": "0000001", "empty": "0011101"}
    assert [row.split() for row in rows] == [[name, *own] for name, own in counts.items()]
    assert note == "Images that HD95 leaves out, of 2: the profile gives them no distance."
    assert "no HD95" not in markdown(comparison(methods, [PAPER]))  # nothing to be counted


def test_twenty_one_methods_of_long_names_stay_legible(methods):
    named = {f"Mamba-UNet {i:02}": methods["small"] for i in range(21)}
    lines = terminal(comparison(named), 100).splitlines()
    assert max(map(len, lines)) <= 100
    for i in range(21):
        assert sum(line.startswith(f"Mamba-UNet {i:02} ") for line in lines) == 4


def test_markdown_holds_the_same(methods):
    text = markdown(comparison(methods))
    blocks = [line for line in text.splitlines() if line.startswith("| ")]
    assert blocks[:2] == ["| Dice | paper | pooled | medpy | monai | deepmind | native | mm |",
                          "| :-- | --: | --: | --: | --: | --: | --: | --: |"]  # fmt: skip
    assert len(blocks) == 4 * (2 + 3)
    assert {line.count("|") for line in blocks} == {2 + len(PROFILES)}
    *_, empty, _ = (line for line in blocks if line.startswith("| empty"))
    cells = empty.split(" | ")
    assert cells[3:5] == ["–", "–"]
    assert text.endswith(".\n")
