from dataclasses import replace
from math import nan
from statistics import fmean, stdev

import pytest
from fake_records import make_ablation, make_exchanged, make_images, make_record, make_run
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.methods import METHODS
from benchmark.mixture import MixtureError
from benchmark.paper import PaperError, Place, read_paper
from benchmark.tables import COLUMNS, IN_TEXT, MEAN, METRICS, TABLES, Row
from dataset_builders.tasks import TASKS

PAPER = read_paper()
DICE, IOU, HD95 = METRICS
PROPL, UNET, FIXMATCH = Row("propl"), Row("unet"), Row("fixmatch")


def cells(*runs, number=3):
    return TABLES[number].cells(runs, PAPER)


def test_the_paper_has_a_dice_and_an_iou_for_every_cell_and_no_other():
    places = {
        Place(number, METHODS[row.method].title, row.pud, row.uplc, column, metric)
        for number, table in TABLES.items()
        for row in table.rows
        for column in COLUMNS
        for metric in ("dice", "iou")
    }
    assert places == set(PAPER)
    assert len(places) == 75 * 9 * 2


@pytest.mark.parametrize("number", TABLES)
def test_the_papers_means_are_the_means_of_its_tasks(number):
    for block in list(cells(number=number).values())[:2]:
        for line in block.values():
            tasks = fmean(line[task].paper for task in TASKS)
            assert line[MEAN].paper == pytest.approx(tasks, abs=0.0101)


def test_the_papers_values_stand_in_their_cells():
    assert cells(number=1)[DICE][UNET]["BC"].paper == 64.15
    assert cells(number=3)[IOU][PROPL][MEAN].paper == 77.46
    assert cells(number=4)[DICE][Row("propl", prompting="none")]["LA"].paper == 17.75
    assert cells(number=6)[DICE][Row("propl", uplc=False)][MEAN].paper == 83.84
    assert all(cell.paper is None for line in cells()[HD95].values() for cell in line.values())


@pytest.mark.parametrize("text", ["", "table,method\n1,U-Net\n", "\x00"])
def test_a_broken_file_of_the_paper_is_named(tmp_path, text):
    path = tmp_path / "tables.csv"
    with pytest.raises(PaperError, match="is missing"):
        read_paper(path)
    path.write_text(text + "table,partition\nx,y\n")
    with pytest.raises(PaperError, match="not the paper's numbers"):
        read_paper(path)


def test_rows_are_the_methods_in_order_and_the_ablations():
    assert [row.method for row in TABLES[1].rows] == list(METHODS)
    assert [row.title for row in TABLES[5].rows] == [
        "ProPL -PuD -UPLC",
        "ProPL -PuD",
        "ProPL -UPLC",
        "ProPL",
    ]
    assert [table.partition for table in TABLES.values()] == ["1_16", "1_8", "1_4"] * 2


def test_one_seed_is_plain_and_a_run_not_made_has_no_value():
    block = cells(make_run(make_record("unet"), dict(zip(TASKS, range(8), strict=True))))[DICE]
    assert block[UNET]["FH"].mean == 100
    assert block[UNET]["FH"].spread is None
    assert block[UNET][MEAN].mean == pytest.approx(350)
    assert all(cell.mean is None for cell in block[PROPL].values())


def test_scales_and_units():
    line = {m: b[PROPL]["BC"].mean for m, b in cells(make_run(make_record(), 0.83, 7.5)).items()}
    assert line == {DICE: pytest.approx(83), IOU: pytest.approx(73), HD95: pytest.approx(7.5)}


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_seeds_give_mean_and_sample_deviation_in_any_order(scores):
    runs = [make_run(make_record(seed=seed), dice) for seed, dice in enumerate(scores)]
    line = cells(*runs)[DICE][PROPL]
    backwards = cells(*reversed(runs))[DICE][PROPL]
    assert line == backwards
    for column in ("BC", MEAN):
        percent = [100 * score for score in scores]
        assert line[column].mean == pytest.approx(fmean(percent))
        assert line[column].spread == pytest.approx(stdev(percent), abs=1e-9)
        assert list(backwards[column].values) == sorted(backwards[column].values)


def test_a_run_of_some_tasks_has_those_and_no_mean():
    some = make_run(make_record(tasks=("BC", "FH")), 0.5)
    line = cells(some)[DICE][PROPL]
    assert [line[column].mean for column in COLUMNS] == [50, 50] + [None] * 7
    whole = make_run(make_record(seed=1), 0.7)
    line = cells(some, whole)[DICE][PROPL]
    assert dict(line["BC"].values) == {0: 50, 1: 70}
    assert dict(line[MEAN].values) == {1: pytest.approx(70)}


def test_no_hd95_is_no_value():
    run = make_run(make_record())
    scores = {**run.scores, "TN": replace(run.scores["TN"], hd95=nan)}
    line = cells(replace(run, scores=scores))[HD95][PROPL]
    assert line["TN"].mean is None
    assert line[MEAN].mean is None
    assert line["BC"].mean == 5


def test_without_images_nothing_is_known_of_the_difference():
    block = cells(make_run(make_record(), 0.8), make_run(make_record("unet"), 0.7))[DICE]
    for row in (PROPL, UNET):
        cell = block[row]["BC"]
        assert (cell.low, cell.high, cell.p_best, cell.rank) == (None, None, None, None)
        assert not cell.best
        assert not cell.top_group


def bold(metric, column, *runs):
    return {row for row, line in cells(*runs)[metric].items() if line[column].best}


def test_bold_is_the_top_group_where_the_test_separates_some():
    def run(method, dice, hd95, seed):
        return make_run(make_record(method), dice, hd95, images=40, noise=0.02, seed=seed)

    propl, unet = run("propl", 0.8, 9, 1), run("unet", 0.7, 3, 2)
    near = run("fixmatch", 0.801, 9, 3)
    assert bold(DICE, "BC", propl) == set()
    assert bold(DICE, MEAN, propl, unet) == {PROPL}
    assert bold(HD95, MEAN, propl, unet) == {UNET}  # lower is better
    assert bold(DICE, "BC", propl, unet, near) == {PROPL, FIXMATCH}
    block = cells(propl, near)[DICE]  # none is separated, so none stands out
    assert bold(DICE, "BC", propl, near) == set()
    assert block[PROPL]["BC"].top_group
    assert block[FIXMATCH]["BC"].top_group


def test_intervals_are_in_the_metrics_unit_and_within_its_limits():
    line = {metric: b[PROPL] for metric, b in cells(make_run(make_record(), images=40)).items()}
    for metric, mean in ((DICE, 80), (IOU, 70), (HD95, 5)):
        cell = line[metric]["BC"]
        assert cell.low < mean < cell.high
        assert cell.high - cell.low < 0.03 * metric.scale
    perfect = cells(make_run(make_record(), 1.0, 0.0, images=40, spread=0.5))
    assert perfect[DICE][PROPL]["BC"].high == 100
    assert perfect[HD95][PROPL]["BC"].low == 0


def test_the_mean_has_ranks():
    runs = [
        make_run(make_record(name), dice, images=40)
        for name, dice in (("propl", 0.7), ("unet", 0.8))
    ]
    block = cells(*runs)[DICE]
    assert block[PROPL][MEAN].rank == (2, 2, 2)
    assert block[UNET][MEAN].rank == (1, 1, 1)
    assert block[UNET]["BC"].rank is None


def test_clean_scores_stand_where_images_were_left_out():
    run = make_run(make_record(), images=40)
    with_duplicates = make_images("TN", {"dice": 0.8, "iou": 0.7, "hd95": 5.0}, duplicates=10)
    images = {**run.images, "TN": with_duplicates}
    line = cells(replace(run, images=images))[DICE][PROPL]
    clean = 80 - 100 * 0.05 * 10 / 39  # the ten highest are gone
    assert line["TN"].clean == pytest.approx(clean)
    assert line["BC"].clean is None
    assert line[MEAN].clean == pytest.approx((7 * 80 + clean) / 8)
    assert line[MEAN].mean == pytest.approx(80)
    assert cells(run)[DICE][PROPL][MEAN].clean is None
    older = make_images("BC", {"dice": 0.8, "iou": 0.7, "hd95": 5.0}, duplicates=None)
    line = cells(replace(run, images={**images, "BC": older}))[DICE][PROPL]
    assert line["TN"].clean == pytest.approx(clean)
    assert line[MEAN].clean is None  # unknown in BC


def test_runs_of_other_images_are_not_paired():
    one = make_run(make_record(), images=40)
    other = make_run(make_record("unet"), images=40)
    twin = replace(other.images["FH"], ids=other.images["FH"].ids.copy())
    twin.ids[7] = "FH/999"
    with pytest.raises(MixtureError) as error:
        cells(one, replace(other, images={**other.images, "FH": twin}))
    assert "propl/1_4/seed0 and unet/1_4/seed0" in str(error.value)
    assert "'FH/007' of task FH" in str(error.value)
    regrouped = replace(twin, ids=other.images["FH"].ids, groups=twin.groups[::-1])
    with pytest.raises(MixtureError, match="task FH, group"):
        cells(one, replace(other, images={**other.images, "FH": regrouped}))


@pytest.mark.parametrize(
    ("tag", "title"),
    [
        ("", "ProPL"),
        ("prompting=false", "ProPL -PuD"),
        ("prompting=false,calibration=false", "ProPL -PuD -UPLC"),
        ("calibration=false", "ProPL -UPLC"),
        ("prompting=none,uplc=false", "ProPL -PuD -UPLC"),
    ],
)
def test_ablations_of_older_records_are_known_too(tag, title):
    assert TABLES[6].row_of(make_record(tag=tag)).title == title


@pytest.mark.parametrize(
    ("settings", "title"),
    [
        ({"prompting": "clip_um"}, "ProPL +CLIP-UM prompting"),
        ({"prompting": "dodnet"}, "ProPL +DoDNet prompting"),
        ({"noise": "gaussian"}, "ProPL +Gaussian noise"),
    ],
)
def test_what_the_text_alone_has_is_in_no_table(settings, title):
    record = make_exchanged(**settings)
    assert [row.title for row in IN_TEXT if row.owns(record)] == [title]
    assert not any(row.owns(make_record()) for row in IN_TEXT)
    assert not any(row.owns(replace(record, tag=f"{record.tag},sigma=0.1")) for row in IN_TEXT)
    assert not any(table.row_of(record) for table in TABLES.values())


def test_ablations_are_told_by_their_flags_and_stay_out_of_the_main_tables():
    every = [
        make_run(make_ablation(pud, uplc), 0.1 + 0.2 * pud + 0.4 * uplc)
        for pud in (False, True)
        for uplc in (False, True)
    ]
    dice = {row.title: line["BC"].mean for row, line in cells(*every, number=6)[DICE].items()}
    assert dice == {
        "ProPL -PuD -UPLC": pytest.approx(10),
        "ProPL -PuD": pytest.approx(50),
        "ProPL -UPLC": pytest.approx(30),
        "ProPL": pytest.approx(70),
    }
    assert dict(cells(*every)[DICE][PROPL]["BC"].values) == {0: pytest.approx(70)}


@pytest.mark.parametrize(
    "record",
    [
        make_record(split="1_8"),
        make_record(tag="perturbations=3", config={"perturbations": 3}),
        make_record(tag="released", variant="released"),
        make_record(tag="prompting=none,weight=2", config={"prompting": "none", "weight": 2.0}),
        make_record(tag="prompting=false,weight=2"),
        make_record(tag="released,prompting=none", variant="released"),
        make_exchanged("dodnet"),
        make_exchanged("clip_um", uplc=False),
        make_exchanged(noise="gaussian"),
        make_record(method="of somebody else"),
    ],
)
def test_other_runs_stand_in_no_row(record):
    assert TABLES[3].select([record]) == []
    assert TABLES[6].select([record]) == []
    assert TABLES[3].cells([make_run(record)], PAPER)[DICE][PROPL]["BC"].mean is None


OTHER = make_record()
MIXTURES = {
    "dataset.content_sha256": (
        {"dataset": replace(OTHER.dataset, content_sha256="f" * 64)},
        "'0123456789ab'",
        "'ffffffffffff'",
    ),
    "preset": ({"preset": "fast"}, "'paper'", "'fast'"),
    "protocol.size": ({"protocol": {**OTHER.protocol, "size": 64}}, "224", "64"),
    "protocol.new": ({"protocol": {**OTHER.protocol, "new": 1}}, "None", "1"),
}
ROW_MIXTURES = {
    "encoder": ({"encoder": "convnext_tiny"}, "'resnet34'", "'convnext_tiny'"),
    "weights": ({"weights": "none"}, "'imagenet'", "'none'"),
    "config.threshold": ({"config": {"threshold": 0.5}}, "None", "0.5"),
    "precision": ({"execution": {"precision": "bf16"}}, "'fp32'", "'bf16'"),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_a_table_refuses_a_mixture(name):
    changes, left, right = MIXTURES[name]
    with pytest.raises(MixtureError) as error:
        TABLES[3].select([OTHER, make_record("unet", **changes)])
    message = str(error.value)
    assert "propl/1_4/seed0 and unet/1_4/seed0" in message
    assert f"{name} is {left} in the first, {right} in the second" in message
    assert "--results" in message
    # in another table it is no mixture
    TABLES[3].select([OTHER, make_record("unet", split="1_8", **changes)])


def test_a_setting_younger_than_a_record_has_its_default():
    older = {name: value for name, value in OTHER.protocol.items() if name != "view_share"}
    both = [OTHER, make_record("unet", protocol=older)]
    assert TABLES[3].select(both) == both
    with pytest.raises(MixtureError, match=r"protocol\.view_share is 0\.5 in the first, 1\.0 in"):
        TABLES[3].select([make_record(protocol={**older, "view_share": 0.5}), both[1]])


@pytest.mark.parametrize("name", ROW_MIXTURES)
def test_the_seeds_of_a_row_agree(name):
    changes, left, right = ROW_MIXTURES[name]
    assert len(TABLES[3].select([OTHER, make_record("unet", **changes)])) == 2
    with pytest.raises(
        MixtureError, match=rf"seed0 and propl/1_4/seed1: {name} is {left} .*{right}"
    ):
        TABLES[3].select([OTHER, make_record(seed=1, **changes)])
