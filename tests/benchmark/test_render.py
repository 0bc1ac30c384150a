import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from fake_records import make_ablation, make_record, make_run

from benchmark import render
from benchmark.captions import fill
from benchmark.methods import METHODS
from benchmark.paper import read_paper
from benchmark.profiles import PROFILES
from benchmark.tables import COLUMNS, METRICS, TABLES, Row
from dataset_builders.tasks import TASKS

PAPER = read_paper()
PROPL, UNET = Row("propl"), Row("unet")
PARTIAL = replace(
    make_record().dataset,
    partial=("BC", "OT"),
    images={**dict.fromkeys(TASKS, (600, 200)), "BC": (122, 41), "OT": (31, 10)},
)


def filled(*runs, number=3):
    return fill(TABLES[number], runs, PAPER, PROFILES["paper"])


def some_runs():
    """A method with three seeds and wide numbers, one with a seed, one with two tasks."""
    seeds = [
        make_run(make_record(seed=seed), 0.4 + 0.25 * seed, 100.0 + seed, images=40)
        for seed in range(3)
    ]
    few = make_run(make_record("fixmatch", tasks=("BC", "FH")), 0.6, images=40)
    return *seeds, make_run(make_record("unet"), 0.7, images=40), few


def bounds(row, column="BC", metric=METRICS[0]):
    """Of the interval, as printed."""
    cell = FULL.cells[metric][row][column]
    return f"{cell.low:.2f}", f"{cell.high:.2f}"


FULL = filled(*some_runs())
EMPTY = [filled(number=number) for number in TABLES]


@pytest.mark.parametrize("form", [render.markdown, render.latex, render.comma_separated])
def test_tables_without_runs_hold_the_papers_values_and_no_others(form):
    text = form(EMPTY)
    for table in EMPTY:
        assert form([table]) in text or form is render.comma_separated
    assert "64.15" in text
    assert "85.50" in text
    assert not re.search(r"\bnan\b|None|\b0\.00", text)
    assert "**85" not in text
    assert "textbf" not in text


@pytest.mark.parametrize("width", [80, 100, 112, 120, 200])
def test_terminal_lines_fit_and_nothing_is_cut(width):
    text = render.terminal([FULL, EMPTY[5]], width, colour=False)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "\x1b" not in text
    for entry in METHODS.values():
        assert text.count(f"\n{entry.title} ") >= 3  # blocks
    assert "resnet34, imagenet" in text


def test_a_narrower_terminal_gets_80_columns():
    assert render.terminal([FULL], 40, colour=False) == render.terminal([FULL], 80, colour=False)


def test_terminal_rows():
    text = render.terminal([FULL], 120, colour=False)
    block = text[text.index("Dice (%)") : text.index("IoU (%)")].splitlines()
    at = next(i for i, line in enumerate(block) if line.startswith("ProPL"))
    ours, low, high, spread, paper = (line.split() for line in block[at : at + 5])
    assert ours == ["ProPL", "ours", *["65.00"] * 9]
    lows, highs = zip(*(bounds(PROPL, column) for column in COLUMNS), strict=True)
    assert low == ["resnet34,", "imagenet", "from", *lows]
    assert high == ["to", *highs]
    assert spread == ["sd", *["25.00"] * 9]
    assert " ".join(paper) == "paper 77.18 96.56 88.72 93.00 85.24 78.31 89.52 75.44 85.50"
    fixmatch = next(line.split() for line in block if line.startswith("FixMatch"))
    assert fixmatch == ["FixMatch", "ours", "60.00", "60.00", *"———————"]
    pspnet = next(line.split() for line in block if line.startswith("PSPNet"))
    assert pspnet == ["PSPNet", "ours", *"—————————"]
    hd95 = text[text.index("HD95 (px)") :]
    assert "paper" not in hd95.splitlines()[4:25]
    assert "101.00" in hd95


def test_methods_without_a_run_are_named_in_one_line():
    short = FULL.only_run()
    assert [row.method for row in short.rows] == ["unet", "fixmatch", "propl"]
    absent = [entry.title for name, entry in METHODS.items() if Row(name) not in short.rows]
    note = f"No run yet: {', '.join(absent)}."
    assert short.notes == (note, *FULL.notes[1:])
    assert FULL.notes[0] == "—: not run (18 of 21 rows)."
    for form in (render.markdown, render.latex, render.comma_separated):
        text = form([short])
        assert "70.00" in text
        assert "82.16" not in text  # PSPNet in the paper
        assert "universal supervised" not in text  # of whose category none was run
    assert "PSPNet" in render.terminal([short], 120, colour=False)
    assert EMPTY[0].only_run() is EMPTY[0]  # the paper's values are all there is
    everything = replace(FULL, records=dict.fromkeys(FULL.rows, make_record()))
    assert everything.only_run() is everything


def test_terminal_letters_are_bold_and_dim_if_there_is_colour():
    text = render.terminal([FULL], 120, colour=True)
    assert "\x1b[1m70.00\x1b[0m" in text  # the best
    assert "\x1b[2m85.50\x1b[0m" in text  # the paper's
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert plain.split() == render.terminal([FULL], 120, colour=False).split()


def test_markdown_rows_are_whole():
    text = render.markdown([FULL])
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {len(COLUMNS) + 3}
    # per block a header, its rule, four categories and 21 methods; the paper's where it has any
    assert len(rows) == 3 * (2 + 4 + 21 + 3 + 1) + 2 * 21  # three were run, one with seeds
    assert "| ProPL | resnet34, imagenet | 65.00 |" in text
    for row in (PROPL, UNET):
        low, high = bounds(row)
        assert f"| *95% interval* |  | *{low}–{high}* |" in text
    assert f"| *sd* |  |{' *25.00* |' * 9}" in text
    assert "| U-Net | resnet34, imagenet | **70.00** |" in text
    assert "| *paper* |  | *77.18* |" in text
    assert f"| PSPNet | — |{' — |' * 9}" in text


def test_csv_is_tidy():
    lines = list(csv.DictReader(io.StringIO(render.comma_separated([FULL]))))
    assert len(lines) == 3 * 21 * 9
    assert list(lines[0]) == list(render.CSV_HEADER)
    by_key = {(x["metric"], x["method"], x["task"]): x for x in lines}
    assert len(by_key) == len(lines)
    cell = FULL.cells[METRICS[0]][PROPL]["mean"]
    assert 64 < cell.low < 65 < cell.high < 66
    assert cell.p_best < 0.01
    assert by_key["dice", "propl", "mean"] == {
        "table": "3",
        "partition": "1_4",
        "metric": "dice",
        "method": "propl",
        "task": "mean",
        "ours": "65.0000",
        "low": f"{cell.low:.4f}",
        "high": f"{cell.high:.4f}",
        "sd": "25.0000",
        "seeds": "0 1 2",
        "p_best": f"{cell.p_best:.4g}",
        "top_group": "no",
        "rank": "2",
        "rank_low": "2",
        "rank_high": "2",
        "clean": "",
        "paper": "85.50",
        "encoder": "resnet34",
        "weights": "imagenet",
        "precision": "fp32",
        "preset": "paper",
        "note": "",
    }
    assert by_key["hd95", "unet", "TN"]["paper"] == ""
    assert by_key["hd95", "unet", "TN"]["ours"] == "5.0000"
    assert by_key["dice", "unet", "TN"]["sd"] == ""
    best = by_key["dice", "unet", "BC"]
    assert (best["p_best"], best["top_group"], best["rank"]) == ("", "yes", "")
    not_run, no_value = by_key["dice", "ddfp", "BC"], by_key["iou", "fixmatch", "mean"]
    assert (not_run["ours"], not_run["seeds"], not_run["note"]) == ("", "", "not run")
    assert (no_value["ours"], no_value["note"]) == ("", "no value")


def test_csv_of_a_method_alone_has_bounds_and_no_judgement():
    table = filled(make_run(make_record(), images=40))
    lines = csv.DictReader(io.StringIO(render.comma_separated([table])))
    own = [line for line in lines if line["ours"]]
    assert len(own) == 3 * 9
    assert all(float(line["low"]) < float(line["ours"]) < float(line["high"]) for line in own)
    assert {(line["p_best"], line["top_group"], line["rank"]) for line in own} == {("", "", "")}
    assert "Bold" not in " ".join(table.notes)


def test_csv_names_ablations_and_has_one_header():
    runs = [make_run(make_ablation(pud=False, uplc=True))]
    text = render.comma_separated([filled(*runs), filled(*runs, number=6)])
    lines = list(csv.DictReader(io.StringIO(text)))
    methods = {line["method"] for line in lines if line["table"] == "6" and line["ours"]}
    assert methods == {"propl -PuD"}
    assert text.count("table,partition") == 1


def test_partial_tasks_are_marked_with_their_counts():
    one = make_record(dataset=PARTIAL)
    table = filled(make_run(one), make_run(make_record("unet", dataset=PARTIAL)))
    header = "| Dice (%) | Encoder, weights | BC† | FH | LA | LV | MD | OT† | TG | TN | mDice† |"
    assert header in render.markdown([table])
    assert "partial: BC, OT." in table.caption
    note = (
        "† fewer than 800 images a task (600 train + 200 test), or chosen from incomplete "
        "sources: BC 122 + 41, OT 31 + 10."
    )
    assert note in table.notes
    labels = {"BC": 30, "OT": 7, "FH": 150}
    entries = {task: replace(one.tasks[task], train_labelled=n) for task, n in labels.items()}
    counted = filled(make_run(replace(one, tasks=entries)))
    assert note.replace("41,", "41 (30 of 150 labelled),").replace(
        "10.", "10 (7 of 150 labelled)."
    ) in (counted.notes)
    lines = csv.DictReader(io.StringIO(render.comma_separated([table])))
    partial = {line["task"] for line in lines if "partial data" in line["note"]}
    assert partial == {"BC", "OT", "mean"}
    assert "†" not in render.markdown([FULL])


def test_the_caption_says_how_the_runs_were_made():
    assert FULL.caption.startswith("Preset paper: 224×224 px, 200 epochs, batch 16. ")
    for words in (
        "profile paper, per-image Dice",
        "Seeds 0, 1, 2: means over seeds; sd: their sample standard deviation.",
        "With a value the bounds of its 95% interval over test images: percentiles of 2000 ",
        "Wilcoxon signed-rank of the means of groups",
        "two-sided, Holm over methods.",
        "encoder weights imagenet; text encoder of methods with prompts bert.",
        "Dataset 0123456789ab. ",
        "Device: cpu (x86_64).",
    ):
        assert words in FULL.caption
    mini = filled(make_run(make_record("unet", preset="mini", seed=7)))
    assert "interval" not in mini.caption
    assert "Precision" not in mini.caption
    assert "Wilcoxon" not in mini.caption
    assert "Preset mini, not the paper's protocol: 64×64 px, 60 steps a task" in mini.caption
    assert "Seed 7. " in mini.caption
    assert "encoder weights packaged" in mini.caption


def test_the_caption_says_what_was_kept_for_validation():
    assert "kept aside" not in FULL.caption
    record = make_record("unet")
    record = replace(record, protocol={**record.protocol, "validation": 0.2})
    said = "batch 16. 20% of the labelled groups kept aside to watch the training. Dice"
    assert said in filled(make_run(record)).caption


def test_other_encoders_and_weights_are_marked():
    assert not any("‡" in note for note in FULL.notes)
    mini = filled(make_run(make_record("unet", preset="mini")))
    assert "| U-Net | tf_efficientnet_lite0, packaged ‡ |" in render.markdown([mini])
    assert "‡ not the method's own encoder with ImageNet weights." in mini.notes
    scratch = filled(make_run(make_record("unet", weights="none", encoder="")))
    assert scratch.setup(TABLES[3].rows[0]) == "own, none ‡"
    plain = filled(make_run(make_record("unet", encoder="")))
    assert plain.setup(TABLES[3].rows[0]) == "own, imagenet"


def test_another_precision_is_stated_in_caption_row_and_csv():
    runs = [
        make_run(make_record(name, execution={"precision": precision, "graph": True}))
        for name, precision in (("propl", "bf16"), ("unet", "fp32"))
    ]
    table = filled(*runs)
    assert "Precision: bf16, fp32." in table.caption
    assert table.setup(PROPL) == "resnet34, imagenet, bf16"
    assert table.setup(UNET) == "resnet34, imagenet"
    lines = csv.DictReader(io.StringIO(render.comma_separated([table])))
    assert {line["precision"] for line in lines if line["method"] == "propl"} == {"bf16"}
    assert "Precision: bf16." in filled(runs[0]).caption
    assert "Precision" not in filled(runs[1]).caption


def test_notes_count_what_the_numbers_hide():
    run = make_run(make_record())
    scores = {**run.scores, "BC": replace(run.scores["BC"], empty_prediction=3, hd95_dropped=2)}
    scores["FH"] = replace(scores["FH"], empty_mask=1)
    notes = filled(replace(run, scores=scores)).notes
    assert "Empty predictions: ProPL 3 of 32." in notes
    assert "Empty masks: 1 of 32." in notes
    assert "Images that HD95 leaves out: ProPL 2 of 32." in notes
    assert "—: not run (20 of 21 rows)." in notes
    assert not any("Bold" in note or "Ranks" in note for note in notes)
    assert any("Bold: the best of a column and all that the test" in note for note in FULL.notes)
    assert "Empty predictions: none." in FULL.notes
    assert "Tasks not run (FixMatch: LA, LV, MD, OT, TG, TN): such a run has no mean." in FULL.notes
    assert "Fewer seeds than the caption names (U-Net: 0; FixMatch: 0)." in FULL.notes


def test_clean_scores_have_a_line_and_a_note():
    runs = [
        make_run(make_record(name), images=40, duplicates=known)
        for name, known in (("propl", 10), ("unet", 0), ("fixmatch", None))
    ]
    runs[1] = replace(runs[1], images=runs[0].images)
    table = filled(*runs)
    clean = f"{80 - 100 * 0.05 * 10 / 39:.2f}"
    assert table.cells[METRICS[0]][PROPL]["BC"].clean == pytest.approx(float(clean), abs=0.005)
    counts = ", ".join(f"{task} 10 of 40" for task in TASKS)
    note = f"clean: without test images that have a duplicate in the data set ({counts})."
    assert note in table.notes
    assert any("have no clean score: FixMatch; run again" in note for note in table.notes)
    assert f"| *clean* |  |{f' *{clean}* |' * 9}" in render.markdown([table])
    line = f"clean   {clean}"
    assert render.terminal([table], 120, colour=False).count(line) == 2  # Dice of two methods
    rows = list(csv.DictReader(io.StringIO(render.comma_separated([table]))))
    by_key = {(row["metric"], row["method"], row["task"]): row["clean"] for row in rows}
    assert float(by_key["dice", "propl", "mean"]) == pytest.approx(float(clean), abs=0.005)
    assert by_key["dice", "fixmatch", "mean"] == ""


def ranked():
    """Three methods on tasks of ten groups, with duplicates."""
    named = (("propl", 0.8), ("unet", 0.7), ("fixmatch", 0.6))
    images = {"images": 40, "groups": 10, "duplicates": 5}
    return filled(*(make_run(make_record(name), dice, **images) for name, dice in named))


def test_notes_tell_ranks_and_too_few_groups():
    table = ranked()
    assert any(
        note.startswith("No interval from fewer than 20 groups of test images: BC 10, FH 10")
        and "may be too narrow" in note
        for note in table.notes
    )
    ranks = "Ranks by mDice (95% interval): ProPL 1 (1–1), U-Net 2 (2–2), FixMatch 3 (3–3)."
    assert ranks in table.notes
    cell = table.cells[METRICS[0]][PROPL]["BC"]
    assert cell.low is None
    assert render.markdown([table]).count("| *95% interval* |  |  |  |") == 9  # that of the mean


def test_hd95_is_headed_by_the_profiles_unit():
    table = fill(TABLES[3], some_runs(), PAPER, PROFILES["mm"])
    assert "| HD95 (mm) | Encoder, weights |" in render.markdown([table])
    assert "HD95 in mm, per task" in table.caption
    assert "HD95 in px at that size, per task" in FULL.caption


def test_latex_escapes_and_balances():
    runs = [make_run(make_record("unet", preset="mini", encoder="a_b%{#}&\\~^$"))]
    text = render.latex([filled(*runs)])
    assert r"a\_b\%\{\#\}\&\textbackslash{}\textasciitilde{}\textasciicircum{}\$" in text
    assert text.isascii()
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    rows = [
        line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line
    ]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(COLUMNS)}
    assert len(rows) == 3 * (1 + 21) + 2 * 21
    with_intervals = render.latex([FULL, ranked()])
    assert with_intervals.isascii()
    low, high = bounds(UNET)
    assert rf"\textbf{{70.00}}\(\,_{{{low}}}^{{{high}}}\) &" in with_intervals


@pytest.mark.slow
def test_latex_compiles(tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex")
    odd = filled(make_run(make_record("unet", preset="mini", encoder="a_b%{#}&\\~^$<>")))
    every = filled(*(make_run(make_record(name), 0.7, 100.0, images=40) for name in METHODS))
    (tmp_path / "tables.tex").write_text(render.latex([FULL, odd, ranked(), every, *EMPTY]))
    (tmp_path / "page.tex").write_text(
        r"\documentclass[twocolumn]{article}\usepackage[margin=0.75in]{geometry}"
        r"\usepackage{booktabs}\begin{document}\input{tables}\end{document}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "Float too large" not in done.stdout
