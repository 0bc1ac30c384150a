import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_records import make_ablation, make_exchanged, make_record, save_run

from benchmark.audit.printed import Claim, Interval
from benchmark.audit.printed_csv import read_claims
from benchmark.claims import CLAIMS_CSV, FAILS, HOLDS, OPEN, check, check_claims
from benchmark.claims_text import FORMATS, as_text, markdown, terminal
from benchmark.methods import METHODS, SINGLE_SUPERVISED
from benchmark.metrics import COLUMNS
from benchmark.profiles import PROFILES
from benchmark.scoring import score_rows
from benchmark.tables import Run, TableError
from dataset_builders.errors import UsageError
from dataset_builders.tasks import TASKS

ROOT = Path(__file__).parents[2]
IMAGES = 50  # a task
SHAPE = (len(TASKS), IMAGES)
NOISE = np.random.default_rng(0).normal(0, 0.1, SHAPE)  # images are hard or easy, for every run
OWN = np.random.default_rng(1).normal(0, 0.01, (5, *SHAPE))  # and each run has its own luck


def make_run(record, dice=0.6, own=OWN[0], hd95=9.0, size=1):
    """A run of scores `dice` + NOISE + `own`, on images in groups of `size`; HD95 in step."""
    hit = np.round(100_000 * np.clip(dice + NOISE + own, 0, 1))
    rows = []
    for task, hits, distance in zip(TASKS, hit, hd95 + 10 * (NOISE + own), strict=True):
        frame = pd.DataFrame(dict.fromkeys(COLUMNS, 1.0), index=range(IMAGES)).assign(
            task=task,
            id=[f"{task}{i}" for i in range(IMAGES)],
            group=[f"{task}{i // size}" for i in range(IMAGES)],
            tp=hits,
            fp=100_000 - hits,
            fn=100_000 - hits,
            hd95_pred_to_mask_px=distance,
            hd95_mask_to_pred_px=distance - 1,
        )
        rows += [frame] * (task in record.tasks)
    return Run(record, *score_rows(pd.concat(rows, ignore_index=True), PROFILES["paper"]))


def a_claim(left="ProPL", right="U-Net", metric="dice", partition="1_4", difference="1.32"):
    stated = Interval.around(difference, 2)
    return Claim("c1", partition, "ProPL is better", left, right, metric, stated)


PROPL, UNET, PSPNET, UNETPP = (make_record(m) for m in ("propl", "unet", "pspnet", "unetpp"))


def test_a_difference_is_that_of_the_means_and_its_interval_is_paired():
    runs = [make_run(PROPL, 0.62, own=OWN[1]), make_run(UNET, 0.60, own=OWN[2])]
    checked = check(a_claim(), runs)
    propl, unet = (np.mean([score.dice for score in run.scores.values()]) for run in runs)
    assert checked.ours.value == pytest.approx(100 * (propl - unet))
    assert checked.ours.right == "U-Net"
    # 400 independent differences of standard deviation 0.01 * sqrt(2)
    half = 1.96 * 100 * (OWN[1] - OWN[2]).std() / 400**0.5
    assert checked.ours.low == pytest.approx(checked.ours.value - half, abs=0.15 * half)
    assert checked.ours.high == pytest.approx(checked.ours.value + half, abs=0.15 * half)
    assert checked.verdict == HOLDS
    assert checked.reasons == ()


def test_groups_are_what_counts():
    def width(size, *own):
        sides = zip((PROPL, UNET), own, strict=True)
        ours = check(a_claim(), [make_run(record, own=o, size=size) for record, o in sides]).ours
        return ours.high - ours.low

    alone = OWN[1], OWN[2]  # every image for itself
    alike = [np.repeat(own[:, ::5], 5, axis=1) for own in alone]  # five images alike
    assert width(5, *alone) == pytest.approx(width(1, *alone), rel=0.35)
    assert width(5, *alike) == pytest.approx(5**0.5 * width(1, *alike), rel=0.2)


@pytest.mark.parametrize(
    ("lead", "metric", "verdict"),
    [
        (0.02, "dice", HOLDS),
        (0.02, "iou", HOLDS),
        (-0.02, "dice", FAILS),
        (-0.02, "iou", FAILS),
        (0.0, "dice", OPEN),
        (-0.5, "hd95", HOLDS),  # px: lower is better
        (0.5, "hd95", FAILS),
    ],
)
def test_verdicts(lead, metric, verdict):
    by = {"hd95": 9 + lead} if metric == "hd95" else {"dice": 0.6 + lead}
    runs = [make_run(PROPL, **by, own=OWN[1]), make_run(UNET, own=OWN[2])]
    checked = check(a_claim(metric=metric), runs)
    assert checked.verdict == verdict
    assert checked.reasons == (("the interval covers 0",) if verdict == OPEN else ())
    assert np.sign(checked.ours.value) == np.sign(lead or checked.ours.value)
    if metric == "hd95":
        assert checked.ours.value == pytest.approx(lead, abs=0.05)


def test_seeds_are_averaged():
    seeds = [make_run(make_record(seed=s), 0.55 + 0.1 * s, own=OWN[s]) for s in (0, 1)]
    checked = check(a_claim(), [*seeds, make_run(UNET, 0.60, own=OWN[2])])
    alone = [
        check(a_claim(), [seed, make_run(UNET, 0.60, own=OWN[2])]).ours.value for seed in seeds
    ]
    assert checked.ours.value == pytest.approx(np.mean(alone))
    swapped = check(a_claim(left="U-Net", right="ProPL"), [*seeds, make_run(UNET, 0.6, own=OWN[2])])
    assert swapped.ours.value == pytest.approx(-checked.ours.value)


def test_the_best_must_be_beaten_by_a_run_of_every_rival():
    supervised = [name for name, e in METHODS.items() if e.category == SINGLE_SUPERVISED]
    rivals = [make_run(make_record(name), 0.5 + 0.01 * i) for i, name in enumerate(supervised)]
    claim = a_claim(right=f"best:{SINGLE_SUPERVISED}")
    ahead, behind = make_run(PROPL, 0.7, own=OWN[1]), make_run(PROPL, 0.4, own=OWN[1])
    checked = check(claim, [ahead, *rivals])
    assert (checked.verdict, checked.ours.right) == (HOLDS, "Mamba-UNet")
    some = check(claim, [ahead, *rivals[:-1]])
    assert some.verdict == OPEN
    assert some.reasons == (
        "of the 10 single-task supervised methods Mamba-UNet lacks a run of all tasks at 1/4",
    )
    few = check(claim, [ahead, rivals[0]])
    assert few.ours.right == "U-Net"
    assert "methods only U-Net has a run of all tasks" in few.reasons[0]
    # one that is ahead is enough
    assert check(claim, [behind, rivals[0]]).verdict == FAILS
    none = check(claim, [ahead, make_run(make_record("fixmatch"))])
    assert none.ours is None
    assert "methods none has a run of all tasks" in none.reasons[0]


def test_a_best_of_equals_is_harder_to_beat_than_one_of_them():
    propl = make_run(PROPL, 0.601, own=OWN[1])
    rivals = [make_run(r, own=OWN[i]) for i, r in enumerate((UNET, PSPNET, UNETPP), 2)]
    low = min(
        check(a_claim(right=t), [propl, r]).ours.low
        for t, r in zip(("U-Net", "PSPNet", "UNet++"), rivals, strict=True)
    )
    assert check(a_claim(right="best:other"), [propl, *rivals]).ours.low < low


def test_the_best_hd95_is_the_lowest():
    runs = [make_run(r, hd95=hd95) for r, hd95 in ((PROPL, 5), (UNET, 7), (PSPNET, 6), (UNETPP, 9))]
    ours = check(a_claim(right="best:other", metric="hd95"), runs).ours
    assert (ours.right, ours.value) == ("PSPNet", pytest.approx(-1))


def test_ablations_are_rivals_only_by_name():
    runs = [make_run(PROPL, 0.6, own=OWN[1])]
    runs.append(make_run(make_ablation(pud=False, uplc=True), 0.5, own=OWN[2]))
    assert check(a_claim(right="ProPL -PuD"), runs).verdict == HOLDS
    assert check(a_claim(right="ProPL -UPLC"), runs).reasons == (
        "ProPL -UPLC lacks a run of all tasks at 1/4",
    )
    assert check(a_claim(right="best:other"), runs).ours is None
    assert check(a_claim(left="ProPL -PuD", right="ProPL"), runs).verdict == FAILS


@pytest.mark.parametrize(
    ("right", "settings"),
    [
        ("ProPL +CLIP-UM prompting", {"prompting": "clip_um"}),
        ("ProPL +DoDNet prompting", {"prompting": "dodnet"}),
        ("ProPL +Gaussian noise", {"noise": "gaussian"}),
    ],
)
def test_what_was_exchanged_is_a_rival_by_name_only(right, settings):
    other = make_run(make_exchanged(**settings), 0.5, own=OWN[2])
    checked = check(a_claim(right=right), [make_run(PROPL, 0.6, own=OWN[1]), other])
    assert (checked.verdict, checked.ours.right) == (HOLDS, right)
    assert check(a_claim(right="best:other"), [make_run(PROPL), other]).ours is None


def test_claims_on_exchanged_parts_are_read_from_the_disk(tmp_path):
    save_run(tmp_path, make_record(split="1_16"), 0.8)
    settings = {"prompting": "clip_um"}, {"prompting": "dodnet"}, {"noise": "gaussian"}
    for own, dice in zip(settings, (0.7, 0.6, 0.5), strict=True):
        save_run(tmp_path, make_exchanged(**own, split="1_16"), dice)
    checked = {c.claim.id: c for c in check_claims(tmp_path)}
    assert [checked[name].ours.value for name in ("c16", "c17")] == pytest.approx([10, 20])
    assert checked["c18"].metric.key == "iou"
    assert checked["c18"].ours.right == "ProPL +Gaussian noise"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (make_record("unet", split="1_8"), "U-Net lacks a run of all tasks at 1/4"),
        (make_record("unet", tasks=("BC", "FH")), "U-Net lacks a run of all tasks at 1/4"),
        (make_record("unet", tag="released", variant="released"), "U-Net lacks a run"),
        (replace(UNET, dataset=replace(UNET.dataset, content_sha256="f" * 64)), "dataset.content"),
        (make_record("unet", preset="mini"), "preset is 'paper' in the first, 'mini' in the"),
    ],
)
def test_runs_that_cannot_be_compared(record, reason):
    checked = check(a_claim(), [make_run(PROPL, 0.9), make_run(record)])
    assert (checked.ours, checked.verdict) == (None, OPEN)
    assert reason in checked.reasons[0]


def test_the_seeds_of_a_side_must_be_of_one_kind():
    other = make_record(seed=1, weights="none")
    checked = check(a_claim(), [make_run(PROPL, 0.9), make_run(other, 0.9), make_run(UNET)])
    assert "weights is 'imagenet' in the first, 'none' in the second" in checked.reasons[0]
    assert ".." not in markdown([checked])


def test_other_test_images_cannot_be_paired():
    checked = check(a_claim(), [make_run(PROPL, 0.9), make_run(UNET, size=5)])
    assert (checked.ours, checked.verdict) == (None, OPEN)
    assert "scored the test image" in checked.reasons[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"preset": "mini"}, "preset mini, not the paper's protocol"),
        (
            {"protocol": {**PROPL.protocol, "size": 64, "rate": 1.0}},
            "not the paper's size and rate",
        ),
        ({"dataset": replace(PROPL.dataset, partial=("BC", "TN"))}, "data partial in BC and TN"),
    ],
)
@pytest.mark.parametrize("dice", [0.4, 0.9])
def test_other_data_or_protocols_decide_nothing(changes, reason, dice):
    propl, unet = (make_record(method, **changes) for method in ("propl", "unet"))
    checked = check(a_claim(), [make_run(propl, dice), make_run(unet)])
    assert (checked.verdict, checked.reasons) == (OPEN, (reason,))
    assert abs(checked.ours.value) > 10  # shown all the same


def test_the_batch_of_the_evaluation_is_no_other_protocol():
    protocol = {**PROPL.protocol, "evaluation_batch": 1}
    runs = [
        make_run(make_record(m, protocol=protocol), d) for m, d in (("propl", 0.9), ("unet", 0.5))
    ]
    assert check(a_claim(), runs).verdict == HOLDS


def test_few_groups_give_no_interval():
    runs = [
        make_run(record, dice, size=IMAGES // 2) for record, dice in ((PROPL, 0.9), (UNET, 0.5))
    ]
    checked = check(a_claim(), runs)
    assert checked.verdict == OPEN
    assert "independent groups" in checked.reasons[0]
    assert "nan" not in terminal([checked], 100, colour=False)


def test_a_task_of_few_groups_is_named_as_a_reason_for_doubt():
    def sized(record, dice):
        run = make_run(record, dice)
        run.images["TG"].groups[:] = [f"TG{i % 3}" for i in range(IMAGES)]
        return run

    checked = check(a_claim(), [sized(PROPL, 0.9), sized(UNET, 0.5)])
    assert checked.few == {"TG": 3}
    assert "too narrow, for groups are few: TG 3." in " ".join(markdown([checked]).split())
    whole = check(a_claim(), [make_run(PROPL, 0.9), make_run(UNET, 0.5)])
    assert "too narrow" not in markdown([whole])


@pytest.mark.parametrize(
    ("off", "verdict"), [(0.0, HOLDS), (0.5, HOLDS), (5.0, FAILS), (-5, FAILS)]
)
def test_a_score_holds_if_the_papers_lies_within_our_interval(off, verdict):
    run = make_run(PROPL, 0.6)
    ours = 100 * np.mean([score.dice for score in run.scores.values()])
    claim = a_claim(right="", difference=f"{ours + off:.2f}")
    checked = check(claim, [run])
    assert (checked.verdict, checked.reasons) == (verdict, ())
    assert checked.ours.value == pytest.approx(ours)
    assert checked.ours.low < ours < checked.ours.high
    text = " ".join(terminal([checked], 120, colour=False).split())
    assert f"{ours + off:.2f} {ours:.2f} {checked.ours.low:.2f} to" in text
    assert "ProPL, Dice at 1/4" in text
    small = check(claim, [make_run(replace(PROPL, preset="mini"), 0.6)])
    assert small.reasons == ("preset mini, not the paper's protocol",)
    assert check(claim, [make_run(UNET)]).reasons == ("ProPL lacks a run of all tasks at 1/4",)
    few = check(claim, [make_run(PROPL, size=IMAGES // 2)])
    assert few.reasons == ("fewer than 20 independent groups of test images",)


def test_settings_younger_than_a_record_are_no_departure():
    protocol = {name: value for name, value in PROPL.protocol.items() if name != "view_share"}
    runs = [make_run(replace(r, protocol=protocol), d) for r, d in ((PROPL, 0.9), (UNET, 0.5))]
    assert check(a_claim(), runs).verdict == HOLDS


@pytest.mark.parametrize(
    "changes",
    [{"right": "ProPL +uniform noise"}, {"left": "SAM"}, {"right": "best:foundation model"}],
)
def test_what_no_run_can_answer_says_so(changes):
    checked = check(a_claim(**changes), [make_run(PROPL), make_run(UNET)])
    assert (checked.ours, checked.verdict) == (None, OPEN)
    assert checked.reasons == (f"no run of usbench is '{next(iter(changes.values()))}'",)


# From records on disk to text.


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    save_run(folder, make_record(), 0.8)
    save_run(folder, make_record("unet"), 0.6)
    save_run(folder, make_record(split="1_16"), 0.5)
    save_run(folder, make_ablation(pud=False, uplc=True, split="1_16"), 0.7)
    save_run(folder, make_record(tag="perturbations=3", config={"perturbations": 3}), 0.1)
    return folder


def test_every_claim_of_the_paper_gets_an_answer(results):
    checked = {c.claim.id: c for c in check_claims(results)}
    assert list(checked) == [claim.id for claim in read_claims(CLAIMS_CSV)]
    assert checked["c9"].ours.value == pytest.approx(20)
    assert checked["c9"].verdict == OPEN
    assert checked["c12"].ours.value == pytest.approx(-20)
    assert {c.claim.id for c in checked.values() if c.verdict == FAILS} == {"c12", "c13", "c19"}
    lacking = "ProPL +{} lacks a run of all tasks at 1/16".format
    for name, exchanged in (("c16", "CLIP-UM prompting"), ("c18", "Gaussian noise")):
        assert checked[name].reasons == (lacking(exchanged),)


@pytest.mark.parametrize("form", FORMATS)
def test_texts_hold_every_claim_and_reason(results, form):
    claims = check_claims(results)
    text = as_text(claims, form)
    assert text == as_text(check_claims(results), form)
    flat = " ".join(text.split())
    assert "0 of 21 hold, 3 do not, 18 cannot be said yet." in flat
    for number in ("+1.32", "+20.00", "-20.00 to -20.00", "+19.59"):
        assert number in flat
    assert "c9, c10: of the 20 other methods only U-Net has a run of all tasks at 1/4." in flat
    assert "nan" not in text
    assert ".." not in text
    with pytest.raises(UsageError, match="unknown format 'csv'"):
        as_text(claims, "csv")


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_text_fits(results, width):
    claims = check_claims(results)
    text = terminal(claims, width, colour=False)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "\x1b" not in text
    assert "\x1b[31mdoes not" in terminal(claims, width, colour=True)


def test_markdown_rows_are_whole(results):
    rows = [line for line in markdown(check_claims(results)).splitlines() if line[:1] == "|"]
    assert len(rows) == 2 + 21
    assert {row.count("|") for row in rows} == {7}


def test_no_runs_say_what_to_run(tmp_path):
    with pytest.raises(TableError, match="usbench run --method propl --split 1_4"):
        check_claims(tmp_path)


def test_claims_start_without_torch():
    script = "import sys, benchmark.claims_text; print({'torch', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
