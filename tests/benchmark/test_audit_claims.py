"""What a text says, held against its own tables."""

from dataclasses import replace

import pytest
from printed_rows import duel, kinds

from benchmark.audit import audit
from benchmark.audit.printed import Claim, Interval


def claim(difference, right="B", metric="dice", left="A", partition="1_4", name="c1"):
    stated = Interval.around(difference, len(difference.partition(".")[2]))
    return Claim(name, partition, "A is better", left, right, metric, stated)


@pytest.mark.parametrize(
    ("difference", "metric", "found"),
    [
        ("2.00", "dice", []),
        ("2.01", "dice", []),  # from numbers before rounding
        ("2.02", "dice", ["difference"]),
        ("2", "dice", []),
        ("2.1", "dice", ["difference"]),
        ("3.00", "iou", []),
        ("2.00", "iou", ["difference"]),
        ("-2.00", "dice", ["difference"]),
    ],
)
def test_differences_are_checked_as_printed(difference, metric, found):
    assert kinds(duel("82.00/73.00", "80.00/70.00"), [claim(difference, metric=metric)]) == found


def test_the_best_is_of_a_category_or_of_all_others():
    rows = duel("82.00/73.00", "80.00/70.00", "81.00/70.50")
    rows[2] = replace(rows[2], category="other kind")
    ablation = replace(rows[0], without=" -PuD", cells=duel("81.50/72.00")[0].cells)
    rows.append(ablation)
    assert kinds(rows, [claim("2.00", "best:kind")]) == []
    assert kinds(rows, [claim("1.00", "best:other")]) == []
    assert kinds(rows, [claim("0.50", "A -PuD")]) == []
    (finding,) = audit(rows, [claim("2.00", "best:other")]).findings
    assert finding.numbers == {"left": 82, "right": 81, "difference": 1, "claimed": 2}
    assert "82.00 against 81.00 of C is a difference of 1.00, not 2.00" in finding.sentence
    assert "which is that to B (80.00)" in finding.sentence


def test_a_claim_by_one_metric_is_held_against_the_other():
    rows = duel("82.00/70.00", "80.00/71.00")
    (finding,) = audit(rows, [claim("2.00")]).findings
    assert (finding.kind, finding.claim) == ("reversed", "c1")
    assert "by IoU B is ahead, 71.00 against 70.00" in finding.sentence
    # a claim of its own speaks for the other metric
    assert kinds(rows, [claim("2.00"), claim("-1.00", metric="iou", name="c2")]) == []
    assert kinds(duel("82.00/70.00", "80.00/70.01"), [claim("2.00")]) == []  # within rounding
    assert kinds(duel("80.00/70.00", "82.00/73.00"), [claim("-2.00")]) == []  # both agree


@pytest.mark.parametrize(
    ("stated", "metric", "found"),
    [
        ("82.00", "dice", []),
        ("82.0", "dice", []),
        ("82.01", "dice", []),  # may be 82.005 as well
        ("82.02", "dice", ["score"]),
        ("73.00", "iou", []),
        ("82.00", "iou", ["score"]),
        ("5.00", "hd95", ["unchecked"]),
    ],
)
def test_scores_are_checked_as_printed(stated, metric, found):
    assert kinds(duel("82.00/73.00"), [claim(stated, right="", metric=metric)]) == found


def test_a_number_stated_of_two_metrics_is_a_remark():
    rows = duel("82.00/73.00", "61.41/50.00")
    one = claim("20.59")
    assert kinds(rows, [one, claim("20.59", right="", metric="hd95", name="c2")]) == [
        *("echo", "unchecked")
    ]
    assert kinds(rows, [one, claim("20.59", name="c2")]) == []  # of one metric
    other = duel("82.00/73.00", "80.00/71.00")
    short = [claim("2.00"), claim("2.00", metric="iou", name="c2")]
    assert kinds(other, short) == []  # three digits may agree by chance


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metric": "hd95"}, "no HD95"),
        ({"right": "Z"}, "no row of this partition is 'Z'"),
        ({"left": "Z"}, "no row of this partition is 'Z'"),
        ({"right": "best:unheard of"}, "'best:unheard of'"),
        ({"partition": "1_16"}, "(at 1/16), “A is better”: no row of this partition is 'A'"),
    ],
)
def test_a_claim_without_its_numbers_cannot_be_checked(changes, reason):
    done = audit(duel("82.00/73.00", "80.00/70.00"), [claim("9.00", **changes)])
    assert done.findings == []
    (remark,) = done.remarks
    assert (remark.kind, remark.claim) == ("unchecked", "c1")
    assert reason in remark.sentence
